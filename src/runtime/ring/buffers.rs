//! The memory that the kernel receives into: one block, cut into buffers that a registered ring lends to it.
//! It belongs to no connection, so an idle one holds none.

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Our rings have one group of buffers.
pub const GROUP: u16 = 0;
/// The kernel wants the ring of entries to begin on a page.
const PAGE_BYTES: usize = 4096;

/// How many buffers there are, and of what size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// A power of two.
    pub count: u16,
    pub bytes: usize,
}

/// Bytes that were received. Not to be copied: whoever has it gives the buffer back, once.
#[derive(Debug)]
pub struct Chunk {
    buffer: u16,
    length: usize,
}

impl Chunk {
    pub fn new(buffer: u16, length: usize) -> Chunk {
        Chunk { buffer, length }
    }
}

pub struct Buffers {
    size: Size,
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: Cell<u16>,
}

impl Buffers {
    /// To be dropped after the ring they are registered with.
    pub fn register(submitter: &Submitter<'_>, size: Size) -> io::Result<Buffers> {
        let buffers = Buffers {
            size,
            entries: allocate(entries_layout(size)).cast(),
            memory: allocate(memory_layout(size)),
            tail: Cell::new(0),
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries live as long as `buffers`, which outlives the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, size.count, GROUP, 0)? };
        for buffer in 0..size.count {
            buffers.give_back(Chunk::new(buffer, 0));
        }
        Ok(buffers)
    }

    /// The bytes of a chunk, where the kernel has put them.
    #[allow(clippy::mut_from_ref, reason = "a chunk is the right to its buffer")]
    pub fn bytes<'a>(&'a self, chunk: &'a mut Chunk) -> &'a mut [u8] {
        debug_assert!(chunk.buffer < self.size.count && chunk.length <= self.size.bytes);
        // SAFETY: within the block; the kernel has given the buffer away, and there is one chunk for it.
        unsafe { std::slice::from_raw_parts_mut(self.start(chunk.buffer), chunk.length) }
    }

    pub fn give_back(&self, chunk: Chunk) {
        let tail = self.tail.get();
        let at = usize::from(tail & (self.size.count - 1));
        // SAFETY: within the entries, and the kernel does not read this one before the tail has moved.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.start(chunk.buffer) as u64);
            entry.set_len(self.size.bytes as u32);
            entry.set_bid(chunk.buffer);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, where nothing else of ours is.
        let shared = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        shared.store(self.tail.get(), Ordering::Release);
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        // SAFETY: there are `count` buffers in the block.
        unsafe {
            self.memory
                .as_ptr()
                .add(usize::from(buffer) * self.size.bytes)
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout(self.size));
            dealloc(self.memory.as_ptr(), memory_layout(self.size));
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn entries_layout(size: Size) -> Layout {
    let bytes = usize::from(size.count) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, PAGE_BYTES).expect("a few KiB")
}

fn memory_layout(size: Size) -> Layout {
    let bytes = usize::from(size.count) * size.bytes;
    Layout::from_size_align(bytes, PAGE_BYTES).expect("a few MiB")
}
