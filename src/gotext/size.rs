//! Sizes for people.

/// Sizes as etcd and etcdctl show them: decimal units, two digits.
pub fn bytes(count: u64) -> String {
    if count < 10 {
        return format!("{count} B");
    }
    let mut power = 1u64;
    let mut suffix = 0;
    while count / power >= 1000 {
        power *= 1000;
        suffix += 1;
    }
    // Tenths, rounded half up.
    let tenths = (u128::from(count) * 10 + u128::from(power) / 2) / u128::from(power);
    let unit = ["B", "kB", "MB", "GB", "TB", "PB", "EB"][suffix];
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        // The second rounding, half to even, as printing with no decimals does it.
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
        format!("{} {unit}", whole + u128::from(up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (16384, "16 kB"),
            (20480, "20 kB"),
            (2147483648, "2.1 GB"),
            (82854982, "83 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
