//! Every interval as a line of an HdrHistogram log (V2, the text form), for its usual tools. The
//! rows of a workload are told apart by tags; values are nanoseconds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::run::Interval;

pub(super) struct HdrLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    began: SystemTime,
    has_head: bool,
}

impl HdrLog {
    pub(super) fn create(path: &Path) -> io::Result<HdrLog> {
        let file = BufWriter::new(File::create(path)?);
        let serializer = V2DeflateSerializer::new();
        Ok(HdrLog { file, serializer, began: SystemTime::now(), has_head: false })
    }

    /// Writes one interval of `length`.
    pub(super) fn add(
        &mut self,
        rows: &[&str],
        interval: &Interval,
        length: Duration,
    ) -> io::Result<()> {
        let start = length * u32::try_from(interval.index).unwrap_or(u32::MAX);
        if self.has_head {
            return self.lines(rows, interval, start, length, false);
        }
        self.has_head = true;
        self.lines(rows, interval, start, length, true)
    }

    fn lines(
        &mut self,
        rows: &[&str],
        interval: &Interval,
        start: Duration,
        length: Duration,
        with_head: bool,
    ) -> io::Result<()> {
        // The builder writes a head of its own each time; only the first is kept.
        let mut text = Vec::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_start_time(self.began).with_base_time(self.began);
        {
            let mut writer = builder.begin_log_with(&mut text, &mut self.serializer)?;
            for (name, row) in rows.iter().zip(&interval.rows) {
                // Spaces and commas would end a tag.
                let name = name.replace(' ', "-");
                let tag = Tag::new(&name);
                writer
                    .write_histogram(&row.intended, start, length, tag)
                    .map_err(|error| io::Error::other(format!("{error:?}")))?;
            }
        }
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if with_head || !line.starts_with(b"#") {
                self.file.write_all(line)?;
            }
        }
        self.file.flush()
    }
}
