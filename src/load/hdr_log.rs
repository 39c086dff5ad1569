//! Every interval as a line of an HdrHistogram log (V2, the text form), for its usual tools. The
//! rows of a workload are told apart by tags, and so are the points of a sweep, whose lines begin
//! when they began; values are nanoseconds. The drain is a line as well: all lines of a tag
//! together are the histogram that the table shows.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::run::Interval;

pub(super) struct HdrLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    began: (SystemTime, Instant),
    /// Name of the run in tags, where the log holds several.
    run: Option<String>,
    /// From the beginning of the log to that of the run.
    run_start: Duration,
    has_head: bool,
}

impl HdrLog {
    pub(super) fn create(path: &Path) -> io::Result<HdrLog> {
        let file = BufWriter::new(File::create(path)?);
        let serializer = V2DeflateSerializer::new();
        let began = (SystemTime::now(), Instant::now());
        Ok(HdrLog {
            file,
            serializer,
            began,
            run: None,
            run_start: Duration::ZERO,
            has_head: false,
        })
    }

    /// A run begins, whose measured time begins after `warm_up`; `name` if there are several.
    pub(super) fn begin_run(&mut self, name: Option<&str>, warm_up: Duration) {
        self.run = name.map(str::to_owned);
        self.run_start = self.began.1.elapsed() + warm_up;
    }

    /// Writes one interval.
    pub(super) fn add(&mut self, rows: &[&str], interval: &Interval) -> io::Result<()> {
        // The builder writes a head of its own each time; only the first is kept.
        let with_head = !std::mem::replace(&mut self.has_head, true);
        let mut text = Vec::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_start_time(self.began.0).with_base_time(self.began.0);
        {
            let mut writer = builder.begin_log_with(&mut text, &mut self.serializer)?;
            for (row, counts) in rows.iter().zip(&interval.rows) {
                let name = match &self.run {
                    Some(run) => tag(&format!("{run}/{row}")),
                    None => tag(row),
                };
                let start = self.run_start + interval.start;
                writer
                    .write_histogram(&counts.intended, start, interval.length, Tag::new(&name))
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

/// A name without what would end a tag.
fn tag(name: &str) -> String {
    name.replace(", ", "/").replace([' ', ',', '\n', '\r'], "-")
}
