"""The cases of the PyPI package `autobahntestsuite`, made importable under Python 3.

In:  the unpacked package, which is Python 2. Out: its case classes by id ("6.4.1"), and the names
of its groups. Nothing of the package is kept in this repository: the conversion is mechanical and
runs each time, into a folder of the caller's.

Holds always: what was a byte string in the suite is text here, one character (latin-1) per byte.
`driver` converts at its edge.
"""

import re
import sys
from pathlib import Path

# What changed its name or its meaning since Python 2 and the suite's time, in the case files.
_REPLACED = (
    ("(object, Case, )", "(Case, )"),
    ("xrange(", "range("),
    ("unichr(", "chr("),
    ("from zope.interface import implements", ""),
    ("len(self.payload) / self.p.autoFragmentSize", "len(self.payload) // self.p.autoFragmentSize"),
    ("pickle.dumps(obj1) == pickle.dumps(obj2)", "obj1 == obj2"),
    ("hashlib, binascii", "hashlib"),
    ("from autobahn.websocket.utf8validator import", "from latin_utf8 import"),
    ("binascii.hexlify(", "repr("),
)
_REWRITTEN = (
    (r"(?m)^([ \t]*)print[ \t]*$", r"\1print()"),
    (r"(?m)^([ \t]*)print[ \t]+([^(\r\n].*?)(\r?)$", r"\1print(\2)\3"),
    (r"(?m)^([ \t]*)implements\(.*\)", r"\1pass"),
    (r"(?m)^(\s*)import binascii", r"\1import latin_hex as binascii"),
)
# The compression options of the `autobahn` library are in snake_case now.
_SNAKE_CASE = (
    "requestNoContextTakeover",
    "requestMaxWindowBits",
    "acceptNoContextTakeover",
    "acceptMaxWindowBits",
)

# Stand-ins for modules that the cases import, over latin-1 text instead of byte strings.
_STAND_INS = {
    "latin_hex": """\
def b2a_hex(s):
    return (s if isinstance(s, bytes) else s.encode("latin-1")).hex()


hexlify = b2a_hex
""",
    "latin_utf8": """\
from autobahn.websocket.utf8validator import Utf8Validator as _Validator


class Utf8Validator:
    def __init__(self):
        self._validator = _Validator()

    def reset(self):
        self._validator.reset()

    def validate(self, s):
        return self._validator.validate(s.encode("latin-1") if isinstance(s, str) else s)
""",
    "pkg_resources": """\
import os


def resource_filename(package, relative):
    return os.path.join({package!r}, relative)
""",
}


def load(package, scratch):
    """Converts the unpacked `package` (a folder) into `scratch` and imports it from there.

    Returns the case classes by id, in the suite's order, and the names of the groups by number.
    """
    package, scratch = Path(package).resolve(), Path(scratch)
    for file in (package / "case").glob("*.py"):
        # The suite numbers its bytes: line ends stay as they are.
        text = file.read_bytes().decode("latin-1")
        name = "all_cases.py" if file.name == "__init__.py" else file.name
        converted = "# -*- coding: latin-1 -*-\n" + _convert(text)
        (scratch / name).write_bytes(converted.encode("latin-1"))
    for name, text in _STAND_INS.items():
        filled = text.format(package=str(package)) if name == "pkg_resources" else text
        (scratch / f"{name}.py").write_text(filled, encoding="utf-8")
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(scratch))
    from all_cases import CaseCategories, Cases

    by_id = {".".join(case.__name__.removeprefix("Case").split("_")): case for case in Cases}
    return {id: by_id[id] for id in sorted(by_id, key=_number)}, CaseCategories


def _convert(text):
    for old, new in _REPLACED[:3]:
        text = text.replace(old, new)
    for pattern, new in _REWRITTEN:
        text = re.sub(pattern, new, text)
    for old, new in _REPLACED[3:]:
        text = text.replace(old, new)
    for name in _SNAKE_CASE:
        text = text.replace(name, re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name))
    return text


def _number(id):
    return tuple(int(part) for part in id.split("."))
