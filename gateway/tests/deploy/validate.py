"""Reads and checks files that Rust's standard library does not know, for the tests beside this.

In:  a command and its arguments; for `kubernetes`, manifests on stdin.
Out: JSON on stdout: `yaml FILE` prints what the file says; `compose FILE` prints
     {"project": ..., "problems": [...]} by the Compose specification's schema, with variables
     replaced by TIDEGATE_SECRET=s alone; `kubernetes VERSION` reads a JSON array and prints an
     array of problems, by that version's OpenAPI document.
"""

import importlib.resources
import json
import re
import sys

import jsonschema
import yaml

# check-jsonschema carries it.
COMPOSE_SCHEMA = "builtin_schemas/vendor/compose-spec.json"

VARIABLES = {"TIDEGATE_SECRET": "s"}


def interpolated(text):
    """Compose's ${NAME}, ${NAME:-default} and ${NAME:?message}; $$ is a dollar sign."""

    def value(found):
        if found[0] == "$$":
            return "$"
        name, how, rest = found["name"], found["how"], found["rest"]
        if VARIABLES.get(name):
            return VARIABLES[name]
        if how == ":-":
            return rest
        raise SystemExit(f"{found[0]}: {rest or 'not set'}")

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\}", value, text)


def everywhere(node):
    if isinstance(node, dict):
        return {key: everywhere(value) for key, value in node.items()}
    if isinstance(node, list):
        return [everywhere(value) for value in node]
    return interpolated(node) if isinstance(node, str) else node


def compose(path):
    with open(path) as file:
        project = everywhere(yaml.safe_load(file))
    schema = json.loads(importlib.resources.files("check_jsonschema").joinpath(COMPOSE_SCHEMA).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(project)]
    return {"project": project, "problems": problems}


def kubernetes(version):
    import kubernetes_validate

    problems = []
    for manifest in json.load(sys.stdin):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            # `strict` refuses keys that the kind does not have.
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
    return problems


def main():
    match sys.argv[1:]:
        case ["yaml", path]:
            with open(path) as file:
                result = yaml.safe_load(file)
        case ["compose", path]:
            result = compose(path)
        case ["kubernetes", version]:
            result = kubernetes(version)
        case other:
            raise SystemExit(f"no such command: {other}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
