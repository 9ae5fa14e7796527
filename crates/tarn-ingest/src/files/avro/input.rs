//! Numbers and bytes as Avro writes them, with bounds on what they may ask for.

use super::schema::Width;

/// Elements that take no bytes, in a block.
pub(super) const EMPTY_MAX: usize = 1 << 20;
/// Memory that one record may take beside its bytes. Chunks end long before.
const WEIGHT_MAX: usize = 512 << 20;

/// Bytes with a place in them. What it gives back as an error is for people.
pub(super) struct Input<'a> {
    data: &'a [u8],
    at: usize,
    /// Elements that may still come: no more than bytes, and some that take none.
    elements: usize,
    /// Bytes that what was read takes in columns, beside its own.
    weight: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, elements: data.len().saturating_add(EMPTY_MAX), weight: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(bytes);
        let taken = end.and_then(|end| self.data.get(self.at..end));
        let taken = taken.ok_or("the data ends within a value")?;
        self.at += bytes;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "the data ends within a value".to_string())
    }

    /// A number of variable length, with the sign in its last bit.
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array::<1>()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err("a number is longer than 64 bits".to_string())
    }

    pub(super) fn int(&mut self) -> Result<i32, String> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| format!("{value} is no 32-bit number"))
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| format!("a length is {length}"))?;
        self.take(length)
    }

    pub(super) fn wide(&mut self, width: Width) -> Result<&'a [u8], String> {
        match width {
            Width::Counted => self.bytes(),
            Width::Fixed(bytes) => self.take(bytes),
        }
    }

    pub(super) fn boolean(&mut self) -> Result<bool, String> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("{other} is no boolean")),
        }
    }

    /// One of some choices.
    pub(super) fn choice<'c, T>(&mut self, choices: &'c [T], what: &str) -> Result<&'c T, String> {
        let at = self.long()?;
        let choice = usize::try_from(at).ok().and_then(|at| choices.get(at));
        choice.ok_or_else(|| format!("{what} {at} is not one of {}", choices.len()))
    }

    /// Bytes that what was read takes in columns, beside its own.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Counts memory that a column takes. Errors: more than one record may take.
    pub(super) fn weigh(&mut self, bytes: usize) -> Result<(), String> {
        self.weight = self.weight.saturating_add(bytes);
        match self.weight > WEIGHT_MAX {
            true => Err(format!("it takes more than {} MiB of memory", WEIGHT_MAX >> 20)),
            false => Ok(()),
        }
    }

    /// Counts an element, which takes some bytes in its column. Errors: more than the data can hold.
    pub(super) fn element(&mut self, bytes: usize) -> Result<(), String> {
        self.elements = self.elements.checked_sub(1).ok_or("it holds more elements than its bytes can")?;
        self.weigh(bytes)
    }

    /// Reads the elements of an array or a map, each of which takes `bytes` in columns beside its own. Returns how many they
    /// are. Errors: more than the bytes that are left can hold; those of `each`.
    pub(super) fn elements(
        &mut self,
        bytes: usize,
        mut each: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut added = 0;
        loop {
            let run = self.run()?;
            if run == 0 {
                return Ok(added);
            }
            for _ in 0..run {
                self.element(bytes)?;
                each(self)?;
                added += 1;
            }
        }
    }

    /// How many elements of an array or a map come next; 0 at its end.
    pub(super) fn run(&mut self) -> Result<u64, String> {
        let count = self.long()?;
        if count < 0 {
            // The bytes of the run, for those that pass it over.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}
