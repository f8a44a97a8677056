//! stub
use crate::point::NameHash;
use std::collections::HashMap;
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub timestamp: u32,
    pub unsaved: bool,
    pub unchecked: bool,
}
pub enum Evicted {
    None,
    Saved,
    Unsaved,
}
#[derive(Debug)]
pub struct Table {
    m: HashMap<NameHash, Entry>,
}
impl Table {
    pub fn new(_: usize) -> Self {
        Table { m: HashMap::new() }
    }
    pub fn get(&mut self, h: NameHash) -> Option<Entry> {
        self.m.get(&h).copied()
    }
    pub fn set(&mut self, h: NameHash, timestamp: u32, unsaved: bool, unchecked: bool) -> Evicted {
        self.m.insert(
            h,
            Entry {
                timestamp,
                unsaved,
                unchecked,
            },
        );
        Evicted::None
    }
    pub fn raise(&mut self, h: NameHash, t: u32) {
        if let Some(e) = self.m.get_mut(&h) {
            e.timestamp = e.timestamp.max(t)
        }
    }
    pub fn saved(&mut self, h: NameHash, _: u32) {
        if let Some(e) = self.m.get_mut(&h) {
            e.unsaved = false;
            e.unchecked = false
        }
    }
    pub fn len(&self) -> usize {
        self.m.len()
    }
    pub fn bytes(&self) -> usize {
        0
    }
}
