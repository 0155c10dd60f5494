//! Walks a compiled template and writes its output.
//!
//! Holds always: each node, expression, element and 64 bytes of text cost a step, and blocks,
//! expressions and values nest at most `max_depth` deep, so every walk ends.

use std::{collections::HashMap, sync::Arc};

use regex::Regex;

use crate::{
    ast::{Expression, Node, Place},
    bindings::Bindings,
    builtins::OverrideMaps,
    error::RenderErrorKind,
    input::Body,
    numbers::Number,
    ordered_map::OrderedMap,
    prepared::Parts,
    template::{Limits, Rendered},
    value::{Heap, Loop, LoopId, Map, Value},
};

/// Why walking stopped early.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// `#break`: of the innermost loop; `$foreach.stop()`: of the one it names.
    Break(Option<LoopId>),
    /// `#stop`: what was written stays.
    Stop,
    Failed(RenderErrorKind),
}

impl Interrupt {
    /// Where Java throws.
    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::Failed(RenderErrorKind::Method(message.into()))
    }
}

/// One render.
pub(crate) struct Evaluator<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) bindings: &'a Bindings<'a>,
    pub(crate) limits: &'a Limits,
    pub(crate) body: Body<'a>,
    pub(crate) heap: Heap,
    pub(crate) variables: OrderedMap<Value>,
    /// Compiled patterns by their text and whether they are anchored, for a loop uses the same one
    /// again. Those that stand in the template are among its parts.
    pub(crate) patterns: HashMap<(Arc<str>, bool), Arc<Regex>>,
    /// Where `$context` takes overrides, once it is a map and they are set once.
    pub(crate) overrides: OverrideMaps,
    /// What `$input.params()` shows, once it was asked for.
    pub(crate) params: Option<Value>,
    innermost: Option<LoopId>,
    /// What a failure points at.
    pub(crate) place: Place,
    steps: u64,
    depth: usize,
}

/// Renders a template, or says what failed and where.
pub(crate) fn render(
    nodes: &[Node],
    parts: &Parts,
    bindings: &Bindings<'_>,
    limits: &Limits,
) -> Result<Rendered, (Place, RenderErrorKind)> {
    let mut evaluator = Evaluator {
        parts,
        bindings,
        limits,
        body: Body::new(bindings.body),
        heap: Heap::default(),
        variables: OrderedMap::new(),
        patterns: HashMap::new(),
        overrides: OverrideMaps::default(),
        params: None,
        innermost: None,
        place: 0,
        steps: 0,
        depth: 0,
    };
    evaluator.bind();
    let mut output = String::new();
    match evaluator.nodes(nodes, &mut output) {
        Ok(()) | Err(Interrupt::Stop | Interrupt::Break(_)) => {}
        Err(Interrupt::Failed(kind)) => return Err((evaluator.place, kind)),
    }
    // What the output cost does not decide whether the overrides are seen.
    evaluator.steps = 0;
    let context = evaluator.context_after();
    Ok(Rendered { output, context })
}

impl Evaluator<'_> {
    fn bind(&mut self) {
        if let crate::Json::Object(members) = self.bindings.variables {
            for (name, json) in members.iter() {
                let value = self.heap.import(json);
                self.variables.insert(name.clone(), value);
            }
        }
    }

    /// Pays for work.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), Interrupt> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.max_steps {
            return Err(Interrupt::Failed(RenderErrorKind::TooManySteps(self.limits.max_steps)));
        }
        Ok(())
    }

    /// Pays for text that is read or about to be built.
    pub(crate) fn spend_text(&mut self, bytes: usize) -> Result<(), Interrupt> {
        self.spend(bytes.div_ceil(64))
    }

    /// Appends to a text that is being built.
    pub(crate) fn write(&mut self, out: &mut String, text: &str) -> Result<(), Interrupt> {
        self.spend_text(text.len())?;
        self.check_length(out.len() + text.len())?;
        out.push_str(text);
        Ok(())
    }

    pub(crate) fn check_length(&self, bytes: usize) -> Result<(), Interrupt> {
        let max = self.limits.max_output_bytes;
        if bytes > max {
            return Err(Interrupt::Failed(RenderErrorKind::OutputTooLong(max)));
        }
        Ok(())
    }

    /// Goes one level down, or refuses to.
    pub(crate) fn deeper<T>(
        &mut self,
        walk: impl FnOnce(&mut Self) -> Result<T, Interrupt>,
    ) -> Result<T, Interrupt> {
        if self.depth >= self.limits.max_depth {
            return Err(Interrupt::Failed(RenderErrorKind::TooDeep(self.limits.max_depth)));
        }
        self.depth += 1;
        let walked = walk(self);
        self.depth -= 1;
        walked
    }

    pub(crate) fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<(), Interrupt> {
        self.deeper(|this| nodes.iter().try_for_each(|node| this.node(node, out)))
    }

    fn node(&mut self, node: &Node, out: &mut String) -> Result<(), Interrupt> {
        self.spend(1)?;
        match node {
            Node::Text(text) => self.write(out, text),
            Node::Reference(reference) => {
                let value = self.reference(reference)?;
                self.print(&value, out)
            }
            Node::Set { target, value } => {
                self.place = target.place;
                let value = self.value(value)?;
                self.assign(target, value)
            }
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.is_true(condition)? {
                        return self.nodes(body, out);
                    }
                }
                self.nodes(otherwise, out)
            }
            Node::Foreach { place, variable, items, body } => {
                self.place = *place;
                let items = self.value(items)?;
                let items = self.items_of(&items)?;
                self.place = *place;
                self.foreach(variable, &items, body, out)
            }
            Node::Define { name, block } => {
                self.set_variable(name, Value::Block(*block));
                Ok(())
            }
            Node::Break => Err(Interrupt::Break(self.innermost)),
            Node::Stop => Err(Interrupt::Stop),
            Node::Resource { place, directive } => {
                self.place = *place;
                Err(Interrupt::Failed(RenderErrorKind::Resource(directive)))
            }
        }
    }

    /// What `#foreach` walks over: a list's items, a map's values, nothing for anything else.
    fn items_of(&mut self, value: &Value) -> Result<Vec<Value>, Interrupt> {
        let items = match value {
            Value::List(id) => self.heap.list(*id).items.clone(),
            Value::Map(id) => self.heap.map(*id).values().cloned().collect(),
            Value::Iterator(id) => {
                let iteration = self.heap.iterator_mut(*id);
                let from = std::mem::replace(&mut iteration.next, iteration.items.len());
                iteration.items[from..].to_vec()
            }
            _ => Vec::new(),
        };
        self.spend(items.len())?;
        Ok(items)
    }

    fn foreach(
        &mut self,
        variable: &str,
        items: &[Value],
        body: &[Node],
        out: &mut String,
    ) -> Result<(), Interrupt> {
        let names = [variable, "foreach", "velocityCount", "velocityHasNext"].map(Arc::<str>::from);
        let before = names.clone().map(|name| {
            let value = self.variables.get(&name).cloned();
            (name, value)
        });
        let parent = self.innermost;
        let id = self.heap.new_loop(Loop { index: 0, length: items.len(), parent });
        self.innermost = Some(id);
        let [name, foreach, count, has_next] = names;
        let place = self.place;
        let mut ended = Ok(());
        for (index, item) in items.iter().enumerate() {
            if index >= self.limits.max_iterations {
                self.place = place;
                let max = self.limits.max_iterations;
                ended = Err(Interrupt::Failed(RenderErrorKind::LoopTooLong(max)));
                break;
            }
            self.heap.running_mut(id).index = index;
            self.variables.insert(foreach.clone(), Value::Loop(id));
            self.variables.insert(count.clone(), Value::count(index + 1));
            self.variables.insert(has_next.clone(), Value::Bool(index + 1 < items.len()));
            self.variables.insert(name.clone(), item.clone());
            ended = self.spend(1).and_then(|()| self.nodes(body, out));
            match ended {
                Ok(()) => {}
                Err(Interrupt::Break(of)) if of.is_none_or(|of| of == id) => {
                    ended = Ok(());
                    break;
                }
                Err(_) => break,
            }
        }
        self.innermost = parent;
        for (name, value) in before {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        ended
    }

    /// The value of an expression: `""` where a reference finds nothing, null where arithmetic
    /// fails.
    pub(crate) fn value(&mut self, expression: &Expression) -> Result<Value, Interrupt> {
        self.spend(1)?;
        self.deeper(|this| match expression {
            Expression::Reference(reference) => match this.reference(reference)? {
                Value::Null => Ok(Value::text("")),
                value => Ok(value),
            },
            Expression::Null => Ok(Value::Null),
            Expression::Bool(bool) => Ok(Value::Bool(*bool)),
            Expression::Number(number) => Ok(Value::Number(number.clone())),
            Expression::Text(text) => {
                this.spend_text(text.len())?;
                Ok(Value::Text(text.clone()))
            }
            Expression::Interpolated(nodes) => {
                let mut text = String::new();
                this.nodes(nodes, &mut text)?;
                Ok(Value::text(text))
            }
            Expression::List(items) => {
                let items = this.values(items)?;
                Ok(this.heap.template_list(items))
            }
            Expression::Range(first, last) => {
                let first = this.value(first)?;
                let last = this.value(last)?;
                this.range(&first, &last)
            }
            Expression::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let key = this.value(key)?;
                    let key = this.text_of(&key)?;
                    map.insert(key, this.value(value)?);
                }
                Ok(Value::Map(this.heap.new_map(map)))
            }
            Expression::Not(inner) => Ok(Value::Bool(!this.is_true(inner)?)),
            Expression::Binary(operator, left, right) => this.binary(*operator, left, right),
        })
    }

    pub(crate) fn values(&mut self, expressions: &[Expression]) -> Result<Vec<Value>, Interrupt> {
        expressions.iter().map(|expression| self.value(expression)).collect()
    }

    /// `[1..5]` or `[5..1]`; null where a bound is not an integer.
    fn range(&mut self, first: &Value, last: &Value) -> Result<Value, Interrupt> {
        let (Value::Number(Number::Int(first)), Value::Number(Number::Int(last))) = (first, last)
        else {
            return Ok(Value::Null);
        };
        let length = usize::try_from(first.abs_diff(*last)).unwrap_or(usize::MAX);
        self.spend(length.saturating_add(1))?;
        let int = |int| Value::Number(Number::Int(int));
        let items = if first <= last {
            (*first..=*last).map(int).collect()
        } else {
            (*last..=*first).rev().map(int).collect()
        };
        Ok(self.heap.template_list(items))
    }

    /// What a value prints as.
    pub(crate) fn text_of(&mut self, value: &Value) -> Result<Arc<str>, Interrupt> {
        if let Value::Text(text) = value {
            return Ok(text.clone());
        }
        let mut text = String::new();
        self.print(value, &mut text)?;
        Ok(text.into())
    }
}
