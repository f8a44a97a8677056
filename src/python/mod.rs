//! Python's literals as text: the settings file of a Skyline, and the lists that Vista sends. Pure. Nothing is
//! evaluated but names that stand for a literal read before.

pub mod settings;
pub mod text;
mod value;

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Flag(bool),
    Whole(i64),
    Float(f64),
    Text(String),
    /// A list or a tuple.
    List(Vec<Value>),
    Dict(Vec<Entry>),
}

/// An entry of a dict, in the order they stand; a repeated key's last one counts in Python.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Value,
    pub value: Value,
    pub line: usize,
}

impl Value {
    /// Completes "it is …"; never the value itself, which may be a key or a password.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Flag(true) => "True",
            Value::Flag(false) => "False",
            Value::Whole(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
        }
    }
}

#[cfg(test)]
mod tests;
