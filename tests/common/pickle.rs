//! Reads carbon's pickle frames: a list of `(name, (timestamp, value))`. Written from the format, not
//! from the encoder under test, and shared with the load test, so it allocates nothing per point.

/// What a frame's payload starts with: protocol 2 and a list. Some relays check these bytes.
const START: [u8; 3] = [0x80, 2, 0x5d];

/// Carbon drops the connection above this (`PICKLE_RECEIVER_MAX_LENGTH`).
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item<'a> {
    Mark,
    List,
    Text(&'a str),
    Int(i64),
    Float(f64),
    Reading(f64, f64),
    Point(&'a str, f64, f64),
}

/// The first frame of a stream: its payload and how many bytes it took. `None`: not all there yet.
pub fn frame(stream: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    let Some((length, rest)) = stream.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(format!("a frame of {length} bytes: carbon would hang up"));
    }
    let Some(payload) = rest.get(..length) else {
        let start = &rest[..rest.len().min(START.len())];
        return match START.starts_with(start) {
            true => Ok(None),
            false => Err(format!("a frame starts {start:02x?}")),
        };
    };
    Ok(Some((payload, 4 + length)))
}

/// Shows every point of one payload, in order, and counts them.
pub fn points(payload: &[u8], mut show: impl FnMut(&str, f64, f64)) -> Result<usize, String> {
    if !payload.starts_with(&START) {
        return Err(format!("starts {:02x?}", &payload[..payload.len().min(3)]));
    }
    let mut reader = Reader { rest: payload };
    let mut stack: Vec<Item> = Vec::with_capacity(1024);
    let mut memo: Vec<Option<Item>> = Vec::new();
    let mut count = 0;
    loop {
        match reader.take::<1>()?[0] {
            0x80 => _ = reader.take::<1>()?,
            0x5d => stack.push(Item::List),
            b'(' => stack.push(Item::Mark),
            b'X' => {
                let length = u32::from_le_bytes(reader.take()?) as usize;
                stack.push(Item::Text(reader.text(length)?));
            }
            b'J' => stack.push(Item::Int(i32::from_le_bytes(reader.take()?).into())),
            b'K' => stack.push(Item::Int(reader.take::<1>()?[0].into())),
            b'M' => stack.push(Item::Int(u16::from_le_bytes(reader.take()?).into())),
            0x8a => stack.push(Item::Int(reader.long()?)),
            b'G' => stack.push(Item::Float(f64::from_be_bytes(reader.take()?))),
            0x86 => {
                let (second, first) = (stack.pop(), stack.pop());
                stack.push(pair(first, second)?);
            }
            b't' => {
                let (second, first, mark) = (stack.pop(), stack.pop(), stack.pop());
                if mark != Some(Item::Mark) {
                    return Err("a tuple that is not a pair".into());
                }
                stack.push(pair(first, second)?);
            }
            b'q' => remember(&mut memo, reader.take::<1>()?[0].into(), stack.last())?,
            b'r' => {
                let slot = u32::from_le_bytes(reader.take()?) as usize;
                remember(&mut memo, slot, stack.last())?;
            }
            b'h' => stack.push(recall(&memo, reader.take::<1>()?[0].into())?),
            b'j' => stack.push(recall(&memo, u32::from_le_bytes(reader.take()?) as usize)?),
            b'a' => {
                let item = stack.pop();
                count += append(item.as_slice(), stack.last(), &mut show)?;
            }
            b'e' => {
                let mark = stack.iter().rposition(|item| *item == Item::Mark);
                let mark = mark.ok_or("appends without a mark")?;
                let list = mark.checked_sub(1).map(|below| &stack[below]);
                count += append(&stack[mark + 1..], list, &mut show)?;
                stack.truncate(mark);
            }
            b'.' if stack == [Item::List] && reader.rest.is_empty() => return Ok(count),
            b'.' => return Err(format!("{} bytes after the stop", reader.rest.len())),
            other => return Err(format!("opcode {other:#04x}")),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("cut off")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("cut off")?;
        self.rest = rest;
        std::str::from_utf8(taken).map_err(|error| error.to_string())
    }

    /// A long of up to eight bytes, little-endian, sign in the last one.
    fn long(&mut self) -> Result<i64, String> {
        let length = self.take::<1>()?[0] as usize;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("cut off")?;
        self.rest = rest;
        let negative = taken.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut bytes = [if negative { 0xff } else { 0 }; 8];
        bytes
            .get_mut(..length)
            .ok_or("a long above 64 bits")?
            .copy_from_slice(taken);
        Ok(i64::from_le_bytes(bytes))
    }
}

fn number(item: Item) -> Option<f64> {
    match item {
        Item::Int(int) => Some(int as f64),
        Item::Float(float) => Some(float),
        _ => None,
    }
}

fn pair<'a>(first: Option<Item<'a>>, second: Option<Item<'a>>) -> Result<Item<'a>, String> {
    match (first, second) {
        (Some(Item::Text(name)), Some(Item::Reading(timestamp, value))) => {
            Ok(Item::Point(name, timestamp, value))
        }
        (Some(first), Some(second)) => match (number(first), number(second)) {
            (Some(timestamp), Some(value)) => Ok(Item::Reading(timestamp, value)),
            _ => Err(format!("a pair of {first:?} and {second:?}")),
        },
        _ => Err("a pair of nothing".into()),
    }
}

fn remember<'a>(
    memo: &mut Vec<Option<Item<'a>>>,
    slot: usize,
    item: Option<&Item<'a>>,
) -> Result<(), String> {
    // A frame has at most a few thousand objects; a larger slot is not a frame of ours.
    if slot >= 100_000 {
        return Err(format!("memo slot {slot}"));
    }
    if memo.len() <= slot {
        memo.resize(slot + 1, None);
    }
    memo[slot] = item.copied();
    Ok(())
}

fn recall<'a>(memo: &[Option<Item<'a>>], slot: usize) -> Result<Item<'a>, String> {
    let item = memo.get(slot).copied().flatten();
    item.ok_or_else(|| format!("memo slot {slot} is empty"))
}

fn append(
    items: &[Item],
    list: Option<&Item>,
    show: &mut impl FnMut(&str, f64, f64),
) -> Result<usize, String> {
    if list != Some(&Item::List) {
        return Err("appended to no list".into());
    }
    for item in items {
        let Item::Point(name, timestamp, value) = item else {
            return Err(format!("{item:?} is not a point"));
        };
        show(name, *timestamp, *value);
    }
    Ok(items.len())
}
