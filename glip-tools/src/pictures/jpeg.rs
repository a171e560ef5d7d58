//! Whether a JPEG is whole. Decoders fill what is missing with grey, or show it elsewhere, and say nothing.
//!
//! The codes of all scans are gone through, without computing pixels: each must be one of the file's
//! Huffman tables and mean a number that pixels can give, there must be as many as the picture has blocks,
//! restart markers must be there in their turn, and nothing may be left over. A byte that was overwritten
//! shifts what follows, which mostly shows in one of these: of 32 bytes within a photograph, nine times in
//! ten. Where it does not, it is beyond telling without a checksum. Source: ITU T.81.

use std::fmt;

/// What is wrong with a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file ends in the midst of the picture.
    CutOff,
    /// Something within is not what it should be.
    At {
        what: What,
        /// The block of pixels, of so many in the scan.
        block: usize,
        blocks: usize,
    },
    /// A part of the picture is in no scan.
    Incomplete,
    /// Tables or the head of a scan make no sense.
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    NoCode,
    Ends,
    LeftOver,
    Restart,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, block, blocks) = match *self {
            Self::CutOff => return f.write_str("the file ends in the midst of the picture"),
            Self::Head => return f.write_str("its tables cannot be read"),
            Self::Incomplete => return f.write_str("a part of the picture is in no scan"),
            Self::At {
                what,
                block,
                blocks,
            } => (what, block, blocks),
        };
        match what {
            What::NoCode => write!(f, "block {block} of {blocks} cannot be read"),
            What::Ends => write!(f, "the scan ends after {block} of {blocks} blocks"),
            What::LeftOver => write!(f, "after the last of {blocks} blocks, data are left over"),
            What::Restart => write!(
                f,
                "a restart marker is missing at block {block} of {blocks}"
            ),
        }
    }
}

/// What a look at a JPEG's structure tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    /// Whether the picture comes in several scans, so that a decoder holds all coefficients.
    pub(super) has_scans: bool,
    /// Whether the marker at its end is not there. Some cameras leave it out.
    pub(super) lacks_end: bool,
}

/// The marker at the end.
pub(super) const END: [u8; 2] = [0xff, END_OF_IMAGE];

/// Goes through a JPEG. Of a kind that the decoder will refuse, and of one without tables, nothing is said.
pub(super) fn check(bytes: &[u8]) -> Result<Structure, Damage> {
    let mut file = File::new(bytes);
    let mut structure = Structure::default();
    loop {
        let Some((marker, segment)) = file.segment() else {
            structure.lacks_end = true;
            break;
        };
        match marker {
            END_OF_IMAGE => break,
            0xc0..=0xc2 if file.frame.is_none() => match Frame::parse(marker, segment) {
                Some(frame) => file.frame = Some(frame),
                None => return Ok(structure),
            },
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(structure),
            0xc4 => file.huffman_tables(segment).ok_or(Damage::Head)?,
            0xdb => file.quantization(segment).ok_or(Damage::Head)?,
            0xdd => file.interval = number(segment, 0).unwrap_or(0),
            START_OF_SCAN => match Scan::parse(segment, &mut file) {
                Some(scan) => {
                    structure.has_scans |= file.is_part(&scan);
                    file.go_through(&scan)?;
                }
                // Frames of videos leave out the tables that all of them have.
                None if !file.has_tables => return Ok(structure),
                None => return Err(Damage::Head),
            },
            _ => {}
        }
    }
    let has_end = !structure.lacks_end;
    match file.frame.as_ref().map(|frame| frame.is_complete(has_end)) {
        Some(true) => Ok(structure),
        Some(false) if has_end => Err(Damage::Incomplete),
        _ => Err(Damage::CutOff),
    }
}

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
/// Coefficients of a block of 8 x 8 pixels.
const COEFFICIENTS: usize = 64;

/// Two bytes of a segment as a number.
fn number(segment: &[u8], at: usize) -> Option<usize> {
    let bytes = segment.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

/// The most that each coefficient can be, either way.
type Limits = [u32; COEFFICIENTS];

/// A file, as far as it was read.
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    tables: Tables,
    has_tables: bool,
    /// By the number of the table of quantization that they follow from.
    limits: [Limits; 4],
    /// Units between restart markers; 0 if there are none.
    interval: usize,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            frame: None,
            tables: Tables::default(),
            has_tables: false,
            limits: [[u32::MAX; COEFFICIENTS]; 4],
            interval: 0,
        }
    }

    /// The next marker and what belongs to it.
    fn segment(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            while *self.bytes.get(self.at)? != 0xff {
                self.at += 1; // what decoders pass over, too
            }
            let marker = *self.bytes.get(self.at + 1)?;
            match marker {
                0xff => self.at += 1, // a fill byte
                // Markers without a segment; a restart marker too many is of no account.
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 2,
                END_OF_IMAGE => return Some((marker, &[])),
                _ => {
                    let length = number(self.bytes, self.at + 2)?;
                    let segment = self.bytes.get(self.at + 4..self.at + 2 + length)?;
                    self.at += 2 + length;
                    return Some((marker, segment));
                }
            }
        }
    }

    /// Reads what coefficients are multiplied with. Of pixels with 8 bits, none comes to more than 1024
    /// then; as much again as rounding does, and a sixteenth, leave room for what encoders do.
    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        const MOST: u32 = 1024 + 1024 / 16;
        while let [id, rest @ ..] = segment {
            let bytes = 1 + usize::from(id >> 4);
            let (steps, rest) = rest.split_at_checked(bytes * COEFFICIENTS)?;
            let limits = self.limits.get_mut(usize::from(id & 15))?;
            for (limit, bytes) in limits.iter_mut().zip(steps.chunks_exact(bytes)) {
                let step = bytes
                    .iter()
                    .fold(0, |step, &byte| step << 8 | u32::from(byte));
                *limit = 1 + MOST / step.max(1);
            }
            segment = rest;
        }
        Some(())
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        self.has_tables = true;
        while let [id, rest @ ..] = segment {
            let (lengths, rest) = rest.split_at_checked(16)?;
            let count = lengths.iter().map(|&n| usize::from(n)).sum();
            let (symbols, rest) = rest.split_at_checked(count)?;
            let class = self.tables.0.get_mut(usize::from(id >> 4))?;
            *class.get_mut(usize::from(id & 15))? = Some(Table::new(lengths, symbols)?);
            segment = rest;
        }
        Some(())
    }

    /// Whether a scan is not all of the picture.
    fn is_part(&self, scan: &Scan) -> bool {
        let frame = self.frame.as_ref();
        frame.is_some_and(|frame| frame.is_progressive || scan.parts.len() < frame.components.len())
    }

    /// Goes through the codes of a scan.
    fn go_through(&mut self, scan: &Scan) -> Result<(), Damage> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        let mut bits = Bits::new(self.bytes, self.at);
        let units = scan.units(frame);
        let (mut unit, mut run, mut restarts) = (0, 0, 0);
        frame.begin();
        let damage = |what: What, block: usize, bits: &Bits<'_>| match what {
            What::Ends | What::Restart if bits.file_ends() => Damage::CutOff,
            _ => Damage::At {
                what,
                block,
                blocks: units,
            },
        };
        while unit < units {
            if self.interval > 0 && unit > 0 && unit % self.interval == 0 {
                if !bits.restart(restarts) {
                    return Err(damage(What::Restart, unit, &bits));
                }
                restarts = (restarts + 1) % 8;
                run = 0;
                frame.begin();
            }
            scan.unit(
                unit,
                frame,
                (&self.tables, &self.limits),
                &mut bits,
                &mut run,
            )
            .map_err(|fault| {
                let what = match fault {
                    Fault::Ends => What::Ends,
                    Fault::NoCode => What::NoCode,
                };
                damage(what, unit, &bits)
            })?;
            unit += 1;
        }
        if bits.has_more() {
            return Err(damage(What::LeftOver, units, &bits));
        }
        self.at = bits.at;
        frame.passed(scan);
        Ok(())
    }
}

/// The picture's size in blocks, and what of it was seen.
struct Frame {
    is_progressive: bool,
    /// The picture's units of all components, in a row and in a column.
    units: [usize; 2],
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// The number of its table of quantization.
    limits: usize,
    /// Its blocks in a unit, in a row and in a column.
    sampling: [usize; 2],
    /// Its blocks if it is alone in a scan, in a row and in a column.
    blocks: [usize; 2],
    /// For each coefficient, the bits that are still to come; `None` if it has not come at all.
    missing_bits: [Option<u8>; COEFFICIENTS],
    /// For each block, a bit for each coefficient that is not zero: what a refining scan must know.
    nonzero: Vec<u64>,
    /// The first coefficient of the block before, with which the next one begins.
    before: i32,
}

impl Frame {
    fn parse(marker: u8, segment: &[u8]) -> Option<Self> {
        let (height, width) = (number(segment, 1)?, number(segment, 3)?);
        let is_progressive = marker == 0xc2;
        let specs = segment.get(6..6 + 3 * usize::from(*segment.get(5)?))?;
        let specs = specs.as_chunks::<3>().0;
        let sampling = |spec: &[u8; 3]| [usize::from(spec[1] >> 4), usize::from(spec[1] & 15)];
        let most = [0, 1].map(|axis| specs.iter().map(|spec| sampling(spec)[axis]).max());
        let most = [most[0]?, most[1]?];
        let valid = |spec: &[u8; 3]| sampling(spec).iter().all(|n| (1..=4).contains(n));
        if height == 0 || width == 0 || !specs.iter().all(valid) {
            return None;
        }
        let size = [width, height];
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        let components = specs.iter().map(|spec| {
            let sampling = sampling(spec);
            let blocks = [0, 1].map(|axis| {
                (size[axis] * sampling[axis])
                    .div_ceil(most[axis])
                    .div_ceil(8)
            });
            let all = units[0] * sampling[0] * units[1] * sampling[1];
            Component {
                id: spec[0],
                limits: usize::from(spec[2]),
                sampling,
                blocks,
                missing_bits: [None; COEFFICIENTS],
                nonzero: vec![0; if is_progressive { all } else { 0 }],
                before: 0,
            }
        });
        Some(Self {
            is_progressive,
            units,
            components: components.collect(),
        })
    }

    /// Blocks that begin with themselves come next.
    fn begin(&mut self) {
        for component in &mut self.components {
            component.before = 0;
        }
    }

    /// Notes that a scan was there as a whole.
    fn passed(&mut self, scan: &Scan) {
        for part in &scan.parts {
            let coefficients = &mut self.components[part.component].missing_bits;
            coefficients[scan.first..=scan.last].fill(Some(scan.shift));
        }
    }

    /// Whether all scans were there. Without a marker at the end it takes every coefficient to be sure.
    fn is_complete(&self, has_end: bool) -> bool {
        let is_whole = |component: &Component| {
            let bits = &component.missing_bits;
            bits[0].is_some()
                && bits.iter().all(|bits| match bits {
                    Some(bits) => *bits == 0,
                    None => has_end,
                })
        };
        self.components.iter().all(is_whole)
    }
}

/// What a scan holds: some coefficients of some components.
struct Scan {
    parts: Vec<Part>,
    first: usize,
    last: usize,
    /// Whether it adds a bit to what earlier scans had.
    refines: bool,
    /// Bits that are left out.
    shift: u8,
}

struct Part {
    component: usize,
    /// Its tables: for the first coefficient, and for the others.
    tables: [usize; 2],
}

impl Scan {
    /// `None` for what the decoder will refuse, and for tables that are not in the file.
    fn parse(segment: &[u8], file: &mut File<'_>) -> Option<Self> {
        let frame = file.frame.as_ref()?;
        let count = usize::from(*segment.first()?);
        let parts = segment.get(1..1 + 2 * count)?.as_chunks::<2>().0;
        let parts = parts.iter().map(|[id, tables]| {
            let component = frame.components.iter().position(|own| own.id == *id)?;
            let tables = [usize::from(tables >> 4), usize::from(tables & 15)];
            Some(Part { component, tables })
        });
        let &[first, last, bits] = segment.get(1 + 2 * count..4 + 2 * count)? else {
            return None;
        };
        let (mut first, mut last) = (usize::from(first), usize::from(last));
        let (mut refines, mut shift) = (bits >> 4 > 0, bits & 15);
        if !frame.is_progressive {
            (first, last, refines, shift) = (0, COEFFICIENTS - 1, false, 0);
        }
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let needed = |part: &Part| {
            let first_needed = first > 0 || refines || file.tables.of(part, 0).is_some();
            first_needed && (last == 0 || file.tables.of(part, 1).is_some())
        };
        let valid = first <= last && last < COEFFICIENTS && shift < 14 && !parts.is_empty();
        let alone = parts.len() == 1 || first == 0 && (last == 0 || !frame.is_progressive);
        (valid && alone && parts.iter().all(needed)).then_some(Self {
            parts,
            first,
            last,
            refines,
            shift,
        })
    }

    /// How many units it has: blocks, if it has one component.
    fn units(&self, frame: &Frame) -> usize {
        match self.parts.as_slice() {
            [only] => frame.components[only.component].blocks.iter().product(),
            _ => frame.units.iter().product(),
        }
    }

    /// Goes through a unit's blocks.
    fn unit(
        &self,
        unit: usize,
        frame: &mut Frame,
        (tables, limits): (&Tables, &[Limits; 4]),
        bits: &mut Bits<'_>,
        run: &mut u32,
    ) -> Result<(), Fault> {
        let is_alone = self.parts.len() == 1;
        for part in &self.parts {
            let component = &mut frame.components[part.component];
            let coder = Coder {
                scan: self,
                first: tables.of(part, 0),
                others: tables.of(part, 1),
                limits: limits.get(component.limits).ok_or(Fault::NoCode)?,
            };
            if !frame.is_progressive {
                let [across, down] = if is_alone { [1, 1] } else { component.sampling };
                for _ in 0..across * down {
                    coder.sequential(bits, &mut component.before)?;
                }
                continue;
            }
            let stride = frame.units[0] * component.sampling[0];
            let (across, down, x, y) = match is_alone {
                true => (1, 1, unit % component.blocks[0], unit / component.blocks[0]),
                false => {
                    let [across, down] = component.sampling;
                    let (x, y) = (unit % frame.units[0], unit / frame.units[0]);
                    (across, down, x * across, y * down)
                }
            };
            for block in 0..across * down {
                let place = (y + block / across) * stride + x + block % across;
                let nonzero = component.nonzero.get_mut(place).ok_or(Fault::NoCode)?;
                coder.progressive(bits, nonzero, &mut component.before, run)?;
            }
        }
        Ok(())
    }
}

/// Why the codes cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Ends,
    NoCode,
}

/// Goes through single blocks.
struct Coder<'a> {
    scan: &'a Scan,
    first: Option<&'a Table>,
    others: Option<&'a Table>,
    limits: &'a Limits,
}

impl Coder<'_> {
    fn sequential(&self, bits: &mut Bits<'_>, before: &mut i32) -> Result<(), Fault> {
        self.first(bits, before)?;
        let mut at = 1;
        while at < COEFFICIENTS {
            let (symbol, value) = bits.coefficient(self.others)?;
            match symbol {
                0xf0 => at += 16,
                _ if symbol & 15 == 0 => return Ok(()),
                _ => {
                    at += usize::from(symbol >> 4);
                    self.check(at, value)?;
                    at += 1;
                }
            }
        }
        match at {
            COEFFICIENTS => Ok(()),
            _ => Err(Fault::NoCode),
        }
    }

    /// A block's first coefficient, as what it differs by from that of the block before.
    fn first(&self, bits: &mut Bits<'_>, before: &mut i32) -> Result<(), Fault> {
        let (symbol, difference) = bits.coefficient(self.first)?;
        *before = before.saturating_add(difference);
        match symbol {
            0..16 => self.check(0, *before),
            _ => Err(Fault::NoCode),
        }
    }

    /// That pixels can give a coefficient.
    fn check(&self, at: usize, value: i32) -> Result<(), Fault> {
        let limit = self.limits.get(at).ok_or(Fault::NoCode)?;
        match value.unsigned_abs() << self.scan.shift > *limit {
            true => Err(Fault::NoCode),
            false => Ok(()),
        }
    }

    fn progressive(
        &self,
        bits: &mut Bits<'_>,
        nonzero: &mut u64,
        before: &mut i32,
        run: &mut u32,
    ) -> Result<(), Fault> {
        match (self.scan.first, self.scan.refines) {
            (0, false) => self.first(bits, before),
            (0, true) => bits.skip(1),
            (_, false) => self.band(bits, nonzero, run),
            (_, true) => self.refined_band(bits, nonzero, run),
        }
    }

    /// The first bits of a band of coefficients. `run` counts blocks without any.
    fn band(&self, bits: &mut Bits<'_>, nonzero: &mut u64, run: &mut u32) -> Result<(), Fault> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let mut at = self.scan.first;
        while at <= self.scan.last {
            let (symbol, value) = bits.coefficient(self.others)?;
            match symbol {
                0xf0 => at += 16,
                _ if symbol & 15 == 0 => {
                    let exponent = symbol >> 4;
                    *run = (1 << exponent) - 1 + bits.take(exponent)?;
                    return Ok(());
                }
                _ => {
                    at += usize::from(symbol >> 4);
                    if at > self.scan.last {
                        return Err(Fault::NoCode);
                    }
                    self.check(at, value)?;
                    *nonzero |= 1 << at;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// One bit more of each coefficient that is not zero, and those that become so.
    fn refined_band(
        &self,
        bits: &mut Bits<'_>,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), Fault> {
        let last = self.scan.last;
        let mut at = self.scan.first;
        while *run == 0 && at <= last {
            let (symbol, _) = bits.coefficient(self.others)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            match (zeros, size) {
                (15, 0) | (_, 1) => {}
                (exponent, 0) => {
                    *run = (1 << exponent) + bits.take(exponent)?;
                    break;
                }
                _ => return Err(Fault::NoCode),
            }
            while at <= last {
                if *nonzero & 1 << at != 0 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size > 0 {
                if at > last {
                    return Err(Fault::NoCode);
                }
                *nonzero |= 1 << at;
            }
            at += 1;
        }
        if *run > 0 {
            *run -= 1;
            // Coefficients from here to the end of the band.
            let band = u64::MAX << at.min(COEFFICIENTS - 1) & u64::MAX >> (COEFFICIENTS - 1 - last);
            if at <= last {
                bits.skip_many((*nonzero & band).count_ones())?;
            }
        }
        Ok(())
    }
}

/// The file's Huffman tables: four for the first coefficients, and four for the others.
#[derive(Default)]
struct Tables([[Option<Table>; 4]; 2]);

impl Tables {
    /// That of a scan's part, for one of the two classes.
    fn of(&self, part: &Part, class: usize) -> Option<&Table> {
        self.0[class].get(part.tables[class])?.as_ref()
    }
}

/// A Huffman table: what each code means.
struct Table {
    /// By the next nine bits, the length of the code that they begin with and its meaning; 0 for longer ones.
    short: Box<[(u8, u8); 1 << SHORT]>,
    /// For each length, the code after its last, as 16 bits, and the place of that code's meaning, less the
    /// code.
    ends: [(u32, i32); 17],
    symbols: Vec<u8>,
}

const SHORT: u32 = 9;

impl Table {
    /// From how many codes there are of each length, and their meanings. `None` if there cannot be so many.
    fn new(lengths: &[u8], symbols: &[u8]) -> Option<Self> {
        let mut short = Box::new([(0, 0); 1 << SHORT]);
        let mut ends = [(0, 0); 17];
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(lengths) {
            ends[length as usize].1 = place as i32 - code as i32;
            for _ in 0..count {
                if length <= SHORT {
                    let begin = (code << (SHORT - length)) as usize;
                    let entries = short.get_mut(begin..begin + (1 << (SHORT - length)))?;
                    entries.fill((length as u8, *symbols.get(place)?));
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return None;
            }
            ends[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some(Self {
            short,
            ends,
            symbols: symbols.to_vec(),
        })
    }

    /// Length and meaning of the code that 16 bits begin with.
    fn look_up(&self, bits: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.short[(bits >> (16 - SHORT)) as usize % (1 << SHORT)];
        if length > 0 {
            return Some((u32::from(length), symbol));
        }
        let length = (SHORT + 1..=16).find(|&length| bits < self.ends[length as usize].0)?;
        let place = (bits >> (16 - length)) as i32 + self.ends[length as usize].1;
        let symbol = self.symbols.get(usize::try_from(place).ok()?)?;
        Some((length, *symbol))
    }
}

/// Whether one of eight bytes is 0xff, which begins a marker or is followed by a zero.
fn has_marker(bytes: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // A byte of the complement is zero, and no other makes it borrow.
    let zeros = !bytes;
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7) != 0
}

/// The bits of a scan, up to the next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte; at its end, that of the marker.
    at: usize,
    /// Bits that were read and not used, from the highest.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
        }
    }

    /// Reads on as far as there is room and data.
    fn fill(&mut self) {
        if let Some(next) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let next = u64::from_be_bytes(*next);
            if !has_marker(next) {
                let bytes = (64 - self.count) / 8;
                let count = self.count + 8 * bytes;
                // What does not fill a byte comes again.
                self.held = (self.held | next.checked_shr(self.count).unwrap_or(0))
                    & u64::MAX.checked_shl(64 - count).unwrap_or(0);
                self.count = count;
                self.at += bytes as usize;
                return;
            }
        }
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            if byte == 0xff {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return; // a marker
                }
                self.at += 1;
            }
            self.at += 1;
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next code, and the number after it whose bits its lower half counts. Of these the highest is not
    /// set if the number is negative.
    fn coefficient(&mut self, table: Option<&Table>) -> Result<(u8, i32), Fault> {
        if self.count < 32 {
            self.fill();
        }
        let table = table.ok_or(Fault::NoCode)?;
        let Some((length, symbol)) = table.look_up((self.held >> 48) as u32) else {
            return Err(if self.count < 16 {
                Fault::Ends
            } else {
                Fault::NoCode
            });
        };
        let size = u32::from(symbol & 15);
        if length + size > self.count {
            return Err(Fault::Ends);
        }
        // At most 31 bits are used up, so that no shift is too far.
        let bits = ((self.held << length) >> 32) as u32;
        self.held <<= length + size;
        self.count -= length + size;
        let value = ((u64::from(bits) << size) >> 32) as i32;
        let is_negative = size > 0 && bits >> 31 == 0;
        Ok((
            symbol,
            if is_negative {
                value + 1 - (1 << size)
            } else {
                value
            },
        ))
    }

    fn take(&mut self, count: u8) -> Result<u32, Fault> {
        if self.count < 32 {
            self.fill();
        }
        let value = (self.held >> 32) as u32;
        self.skip(count)?;
        Ok(value.checked_shr(32 - u32::from(count)).unwrap_or(0))
    }

    fn skip(&mut self, count: u8) -> Result<(), Fault> {
        self.skip_many(u32::from(count))
    }

    fn skip_many(&mut self, mut count: u32) -> Result<(), Fault> {
        if self.count < count {
            self.fill();
        }
        if self.count < count {
            // More than there is room for, if there is more.
            count -= self.count;
            (self.held, self.count) = (0, 0);
            self.fill();
        }
        if self.count < count {
            return Err(Fault::Ends);
        }
        self.held = self.held.checked_shl(count).unwrap_or(0);
        self.count -= count;
        Ok(())
    }

    /// Goes past the restart marker of this number, if it is what comes next.
    fn restart(&mut self, number: u8) -> bool {
        if self.has_more() {
            return false;
        }
        while self.bytes.get(self.at..self.at + 2) == Some(&[0xff, 0xff]) {
            self.at += 1; // a fill byte
        }
        let is_next = self.bytes.get(self.at..self.at + 2) == Some(&[0xff, 0xd0 + number]);
        if is_next {
            self.at += 2;
            (self.held, self.count) = (0, 0);
        }
        is_next
    }

    /// Whether bytes are left before the marker. Zeros are none: some cameras fill up with them.
    fn has_more(&mut self) -> bool {
        // What is left of a byte is of no account.
        self.held = self.held.checked_shl(self.count % 8).unwrap_or(0);
        self.count -= self.count % 8;
        loop {
            if self.held != 0 {
                return true;
            }
            (self.held, self.count) = (0, 0);
            self.fill();
            if self.count == 0 {
                return false;
            }
        }
    }

    /// Whether nothing comes any more, not even a marker.
    fn file_ends(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.iter().all(|&byte| byte == 0xff)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// Sequential, with restart markers, and progressive with two and four scans of each component.
    const FILES: [&str; 4] = [
        "../examples/images/coffee.jpg",
        "tests/pictures/restarts.jpg",
        "tests/pictures/progressive.jpg",
        "tests/pictures/grey.jpg",
    ];

    /// A file, and where the codes of its first scan begin.
    fn file(name: &str) -> (Vec<u8>, usize) {
        let bytes = fs::read(name).unwrap();
        let scan = bytes
            .windows(2)
            .position(|pair| pair == [0xff, START_OF_SCAN])
            .unwrap();
        let begin = scan + 2 + number(&bytes, scan + 2).unwrap();
        (bytes, begin)
    }

    #[test]
    fn whole_files_are_whole() {
        for (name, has_scans) in FILES.into_iter().zip([false, false, true, true]) {
            let (mut bytes, _) = file(name);
            let structure = check(&bytes).unwrap();
            assert_eq!(
                (structure.has_scans, structure.lacks_end),
                (has_scans, false),
                "{name}"
            );
            // What comes after the end, such as a second picture, is of no account; nor are zeros before it.
            bytes.extend([7; 100]);
            assert_eq!(check(&bytes), Ok(structure));
            let end = bytes.len() - 102;
            bytes.splice(end..end, [0; 9]);
            assert_eq!(check(&bytes), Ok(structure));
            bytes.truncate(end);
            let lacks_end = Structure {
                lacks_end: true,
                ..structure
            };
            assert_eq!(check(&bytes), Ok(lacks_end), "{name}");
        }
    }

    #[test]
    fn what_is_cut_off_is_named() {
        for name in FILES {
            let (bytes, begin) = file(name);
            let places = (begin..bytes.len() - 4).step_by(1 + (bytes.len() - begin) / 50);
            for length in places {
                let cut = &bytes[..length];
                assert_eq!(check(cut), Err(Damage::CutOff), "{name}: {length}");
                let ended = check(&[cut, &END].concat());
                assert!(ended.is_err(), "{name}: {length} of {}", bytes.len());
            }
            for length in 2..begin {
                assert_eq!(
                    check(&bytes[..length]),
                    Err(Damage::CutOff),
                    "{name}: {length}"
                );
            }
        }
    }

    /// Most of what is overwritten shows: a code that means nothing, a block too few or too many. What does
    /// not is another picture.
    #[test]
    fn what_is_overwritten_is_named() {
        for name in FILES {
            let (bytes, begin) = file(name);
            let (mut tries, mut named) = (0, 0);
            for place in (begin..bytes.len() - 40).step_by(1 + (bytes.len() - begin) / 200) {
                let mut damaged = bytes.clone();
                for (at, byte) in damaged[place..place + 32].iter_mut().enumerate() {
                    *byte = (place * 31 + at * 77) as u8 & 0x7f;
                }
                tries += 1;
                named += usize::from(check(&damaged).is_err());
            }
            assert!(named * 100 > tries * 85, "{name}: {named} of {tries}");
        }
    }

    #[test]
    fn damage_says_where() {
        let (bytes, begin) = file(FILES[0]);
        let middle = (begin + bytes.len()) / 2;
        let half = check(&[&bytes[..middle], &END].concat())
            .unwrap_err()
            .to_string();
        assert!(
            half.starts_with("the scan ends after") && half.ends_with("blocks"),
            "{half}"
        );
        let doubled = [&bytes[..bytes.len() - 2], &bytes[middle..]].concat();
        let doubled = check(&doubled).unwrap_err().to_string();
        assert!(doubled.contains("left over"), "{doubled}");
        let (bytes, begin) = file(FILES[1]);
        let restart = bytes
            .windows(2)
            .skip(begin)
            .position(|pair| pair == [0xff, 0xd0])
            .unwrap();
        let mut damaged = bytes;
        damaged[begin + restart + 1] = 0xd5;
        let damaged = check(&damaged).unwrap_err().to_string();
        assert!(damaged.contains("restart marker"), "{damaged}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_gone_through(
            which in 0..FILES.len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            bytes: Vec<u8>,
        ) {
            let _ = check(&[&[0xff, 0xd8][..], &bytes].concat());
            let (mut file, _) = file(FILES[which.max(1)]);
            for (at, byte) in changes {
                *at.get_mut(&mut file) = byte;
            }
            let _ = check(&file);
        }
    }
}
