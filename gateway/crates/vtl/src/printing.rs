//! How values print: maps as `{a=b}`, lists as `[a, b]`, parsed arrays as JSON text.
//!
//! Holds always: what is printed is paid for, and a list that holds itself ends.

use std::fmt::Write as _;

use crate::{
    evaluator::{Evaluator, Interrupt},
    json::{Json, Slash, write_string},
    template::ContextAfter,
    value::{Origin, Value},
};

impl Evaluator<'_> {
    /// Appends a value; null is nothing.
    pub(crate) fn print(&mut self, value: &Value, out: &mut String) -> Result<(), Interrupt> {
        self.spend(1)?;
        match value {
            Value::Null => Ok(()),
            Value::Bool(true) => self.write(out, "true"),
            Value::Bool(false) => self.write(out, "false"),
            Value::Number(number) => self.write(out, &number.to_string()),
            Value::Text(text) => self.write(out, text),
            Value::Block(block) => {
                let parts = self.parts;
                match parts.blocks.get(*block) {
                    Some(nodes) => self.nodes(nodes, out),
                    None => Ok(()),
                }
            }
            Value::Input | Value::Util | Value::Uncalled | Value::Loop(_) | Value::Iterator(_) => {
                self.write(out, "{}")
            }
            Value::Entry(id) => {
                let entry = self.heap.entry(*id);
                let (key, value) = (entry.key.clone(), entry.value.clone());
                self.print_inside(&key, out)?;
                self.write(out, "=")?;
                self.print_inside(&value, out)
            }
            Value::List(id) if self.heap.list(*id).origin == Origin::Json => {
                self.print_json(value, out)
            }
            Value::List(id) => {
                let items = self.heap.list(*id).items.clone();
                self.spend(items.len())?;
                self.write(out, "[")?;
                for (index, item) in items.iter().enumerate() {
                    self.write(out, if index > 0 { ", " } else { "" })?;
                    match item {
                        Value::List(inner) if inner == id => {
                            self.write(out, "(this Collection)")?
                        }
                        item => self.print_inside(item, out)?,
                    }
                }
                self.write(out, "]")
            }
            Value::Map(id) => {
                let map = self.heap.map(*id);
                let entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                self.spend(entries.len())?;
                self.write(out, "{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.write(out, if index > 0 { ", " } else { "" })?;
                    self.write(out, key)?;
                    self.write(out, "=")?;
                    match value {
                        Value::Map(inner) if inner == id => self.write(out, "(this Map)")?,
                        value => self.print_inside(value, out)?,
                    }
                }
                self.write(out, "}")
            }
        }
    }

    /// In a list or a map null is a word.
    fn print_inside(&mut self, value: &Value, out: &mut String) -> Result<(), Interrupt> {
        match value {
            Value::Null => self.write(out, "null"),
            value => self.deeper(|this| this.print(value, out)),
        }
    }

    /// JSON text, as a parsed array prints.
    fn print_json(&mut self, value: &Value, out: &mut String) -> Result<(), Interrupt> {
        self.spend(1)?;
        self.deeper(|this| match value {
            Value::Null => this.write(out, "null"),
            Value::Bool(_) | Value::Number(_) => this.print(value, out),
            Value::List(id) => {
                let items = this.heap.list(*id).items.clone();
                this.spend(items.len())?;
                this.write(out, "[")?;
                for (index, item) in items.iter().enumerate() {
                    this.write(out, if index > 0 { "," } else { "" })?;
                    this.print_json(item, out)?;
                }
                this.write(out, "]")
            }
            Value::Map(id) => {
                let map = this.heap.map(*id);
                let entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                this.spend(entries.len())?;
                this.write(out, "{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    this.write(out, if index > 0 { "," } else { "" })?;
                    this.write_json_string(key, out)?;
                    this.write(out, ":")?;
                    this.print_json(value, out)?;
                }
                this.write(out, "}")
            }
            _ => {
                let text = this.text_of(value)?;
                this.write_json_string(&text, out)
            }
        })
    }

    fn write_json_string(&mut self, text: &str, out: &mut String) -> Result<(), Interrupt> {
        // At worst each byte becomes six.
        self.spend_text(text.len())?;
        let mut quoted = String::with_capacity(text.len() + 2);
        if write_string(&mut quoted, text, Slash::Escaped).is_err() {
            // Writing to a string does not fail.
            let _ = quoted.write_str("\"\"");
        }
        self.write(out, &quoted)
    }

    /// `$context` as the template left it.
    pub(crate) fn context_after(&mut self) -> ContextAfter {
        let Some(context) = self.variables.get("context").cloned() else {
            return ContextAfter::Unchanged;
        };
        match self.export(&context) {
            Ok(json @ Json::Object(_)) => ContextAfter::Object(json),
            Ok(_) | Err(_) => ContextAfter::Lost,
        }
    }

    fn export(&mut self, value: &Value) -> Result<Json, Interrupt> {
        self.spend(1)?;
        self.deeper(|this| match value {
            Value::Null => Ok(Json::Null),
            Value::Bool(bool) => Ok(Json::Bool(*bool)),
            Value::Number(number) => Ok(Json::Number(number.clone())),
            Value::List(id) => {
                let items = this.heap.list(*id).items.clone();
                items
                    .iter()
                    .map(|item| this.export(item))
                    .collect::<Result<_, _>>()
                    .map(Json::Array)
            }
            Value::Map(id) => {
                let map = this.heap.map(*id);
                let entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), this.export(value)?)))
                    .collect::<Result<_, Interrupt>>()
                    .map(Json::Object)
            }
            _ => this.text_of(value).map(Json::String),
        })
    }
}
