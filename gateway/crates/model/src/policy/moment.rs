//! A point in time as policies write it: ISO 8601 in the W3C's profile, or seconds since 1970.

/// Seconds since 1970 of `2026`, `2026-11`, `2026-11-22`, `2026-11-22T11:59Z`,
/// `2026-11-22T11:59:53.5+01:00` (parts of a second are cut off), or of more than four digits, or
/// a sign and digits, which are the seconds themselves. `None` for anything else.
pub(super) fn parse(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number && (text.len() != 4 || digits.len() != text.len()) {
        return text.parse().ok();
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |text| number(text, 2))?;
    let (day, whole_date) = match parts.next() {
        Some(text) => (number(text, 2)?, true),
        None => (1, false),
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) {
        return None;
    }
    let midnight_s = days_since_1970(year, month, day) * 86_400;
    match time {
        None => Some(midnight_s),
        Some(_) if !whole_date => None,
        Some(time) => Some(midnight_s + time_of_day_s(time)?),
    }
}

/// `11:59Z`, `11:59:53Z`, `11:59:53.25-07:30`: seconds since midnight UTC.
fn time_of_day_s(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = match parts.next() {
        None => 0,
        Some(text) => match text.split_once('.') {
            None => number(text, 2)?,
            Some((second, part)) => {
                let is_part = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                is_part.then(|| number(second, 2))??
            }
        },
    };
    let ahead_s = match zone.split_at(1) {
        ("Z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            let offset_s = (hours * 60 + minutes) * 60;
            match sign {
                "+" if hours < 24 && minutes < 60 => offset_s,
                "-" if hours < 24 && minutes < 60 => -offset_s,
                _ => return None,
            }
        }
    };
    (hour < 24 && minute < 60 && second < 60)
        .then_some((hour * 60 + minute) * 60 + second - ahead_s)
}

/// Exactly `length` decimal digits.
fn number(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Of a date in the Gregorian calendar, from year 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that a leap day is a year's last.
    let year = if month > 2 { year } else { year - 1 };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn each_form_is_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-22T11:59:53Z", 1_795_348_793),
            ("2026-11-22T12:59:53.999+01:00", 1_795_348_793),
            ("2026-11-22T04:29:53-07:30", 1_795_348_793),
            ("2026-11-22T11:59Z", 1_795_348_740),
            ("2026-11-22", 1_795_305_600),
            ("2026-11", 1_793_491_200),
            ("2026", 1_767_225_600),
            ("1795348793", 1_795_348_793),
            ("-5", -5),
            ("0", 0),
            ("2000-02-29", 951_782_400),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "-",
            "now",
            "+5",
            "2026-13",
            "2026-00",
            "2026-02-29",
            "1900-02-29",
            "2026-11-31",
            "2026-1-1",
            "2026-11-22T",
            "2026-11-22T11:59:53",
            "2026-11-22T24:00:00Z",
            "2026-11-22T11:60Z",
            "2026-11-22T11:59:60Z",
            "2026-11-22T11:59:53.Z",
            "2026-11T11:59Z",
            "2026-11-22T11:59:53+1:00",
            "2026-11-22T11:59:53+25:00",
            "2026-11-22T11:59:53Zx",
            "2026-11-22T11Z",
            "2026-11-22T11:59:53é",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
