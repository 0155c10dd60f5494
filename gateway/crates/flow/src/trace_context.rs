//! W3C Trace Context, level 1 and 2: which trace something belongs to, on its way between programs.
//!
//! In:  the headers `traceparent` and `tracestate`; random bytes and the time for a new trace.
//! Out: a [`TraceContext`], and the headers that tell the next program of it.
//!
//! Holds always: a context that is not exactly as the recommendation has it is none; ids are never
//! all zeros; a new trace id starts with the time, so that it can be told as AWS's `Root` too.

use std::fmt::Write as _;

/// Longest `tracestate` that is passed on (W3C Trace Context, 3.3.1.5 asks for this much at least).
const MAX_TRACE_STATE_BYTES: usize = 512;

/// One span's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Names the trace; not all zeros.
    pub trace_id: [u8; 16],
    /// Names the span; not all zeros.
    pub span_id: [u8; 8],
    /// Whether whoever began the trace has it recorded.
    pub sampled: bool,
}

/// Which part of all traces is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRatio {
    /// A trace is recorded whose id's last 63 bits are below.
    bound: u64,
}

impl SampleRatio {
    /// `ratio` of all traces: 0 is none, 1 is all.
    pub fn new(ratio: f64) -> Self {
        const ALL: u64 = 1 << 63;
        // A float beyond u64 saturates, and a NaN is 0.
        Self { bound: ((ratio * ALL as f64) as u64).min(ALL) }
    }

    /// The same answer for the same trace wherever this ratio is asked, as OpenTelemetry's
    /// `traceidratio` samplers give it.
    fn admits(self, trace_id: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace_id;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

impl TraceContext {
    /// The first span of a new trace.
    pub fn root(now_s: u32, random: [u8; 20], ratio: SampleRatio) -> Self {
        let mut trace_id = [0; 16];
        trace_id[..4].copy_from_slice(&now_s.to_be_bytes());
        trace_id[4..].copy_from_slice(&random[..12]);
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&random[12..]);
        // One of 2^96, and of 2^64; an id of zeros would be none.
        trace_id[15] |= u8::from(trace_id == [0; 16]);
        Self { trace_id, span_id: not_zero(span_id), sampled: ratio.admits(&trace_id) }
    }

    /// A span below this one: in the same trace, recorded where this one is.
    pub fn child(&self, random: [u8; 8]) -> Self {
        Self { span_id: not_zero(random), ..*self }
    }

    /// Reads a `traceparent`; `None` for one that is not valid.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let text = traceparent.as_bytes();
        // A later version may append to what version 0 has, after another dash.
        let (fields, more) = text.split_at_checked(55)?;
        let dashes = [fields[2], fields[35], fields[52]] == *b"---";
        let version = hex::<1>(&fields[..2])?[0];
        let known_length = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace_id, span_id) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
        let [flags] = hex(&fields[53..])?;
        let valid = dashes && known_length && trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The header `traceparent`, of version 0.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        append_hex(&self.trace_id, &mut text);
        text.push('-');
        append_hex(&self.span_id, &mut text);
        text.push_str(if self.sampled { "-01" } else { "-00" });
        text
    }

    /// The header `X-Amzn-Trace-Id` for the same place in the same trace, as AWS's tracing writes it
    /// and OpenTelemetry's propagator for it reads it.
    pub fn amazon_trace_id(&self) -> String {
        let mut text = String::with_capacity(74);
        text.push_str("Root=1-");
        append_hex(&self.trace_id[..4], &mut text);
        text.push('-');
        append_hex(&self.trace_id[4..], &mut text);
        text.push_str(";Parent=");
        append_hex(&self.span_id, &mut text);
        text.push_str(if self.sampled { ";Sampled=1" } else { ";Sampled=0" });
        text
    }
}

/// The `tracestate` to pass on, of the headers of that name in their order; `None` where there is
/// none, it is too long, or holds what it must not.
pub fn trace_state<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<String> {
    let joined = values.collect::<Vec<_>>().join(&b","[..]);
    let text = String::from_utf8(joined).ok()?;
    let text = text.trim();
    let printable = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let fits = !text.is_empty() && text.len() <= MAX_TRACE_STATE_BYTES && printable;
    fits.then(|| text.to_owned())
}

fn not_zero(mut span_id: [u8; 8]) -> [u8; 8] {
    span_id[7] |= u8::from(span_id == [0; 8]);
    span_id
}

/// Lower-case hex digits, as the recommendation has them.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn append_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of W3C Trace Context, 3.2.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    const ALL: SampleRatio = SampleRatio { bound: 1 << 63 };

    #[test]
    fn a_traceparent_is_read_and_written_as_the_recommendation_has_it() {
        let context = TraceContext::parse(EXAMPLE).expect("the recommendation's own example");
        assert!(context.sampled);
        assert_eq!(context.span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!(context.traceparent(), EXAMPLE);
        let unsampled = TraceContext::parse(&EXAMPLE.replace("-01", "-00")).expect("valid");
        assert!(!unsampled.sampled);
    }

    #[test]
    fn a_later_version_is_read_by_what_version_0_has() {
        for later in [EXAMPLE.replace("00-4", "01-4"), EXAMPLE.replace("00-4", "cc-4") + "-what"] {
            assert_eq!(TraceContext::parse(&later), TraceContext::parse(EXAMPLE), "{later}");
        }
    }

    #[test]
    fn what_the_recommendation_forbids_is_no_context() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ä-0f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_new_trace_can_be_told_in_amazons_words() {
        let root = TraceContext::root(0x65d2_ff2e, [0xab; 20], ALL);
        assert_eq!(
            root.amazon_trace_id(),
            "Root=1-65d2ff2e-abababababababababababab;Parent=abababababababab;Sampled=1"
        );
        let zeros = TraceContext::root(0, [0; 20], ALL);
        assert!(zeros.trace_id != [0; 16] && zeros.span_id != [0; 8]);
    }

    #[test]
    fn a_trace_state_is_joined_and_passed_on_only_where_it_may_stand_in_a_header() {
        let state = |values: &[&str]| trace_state(values.iter().map(|value| value.as_bytes()));
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&[]), None);
        assert_eq!(state(&["a=\u{7f}"]), None);
        assert_eq!(state(&[&"a".repeat(513)]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }

        #[test]
        fn what_is_written_is_read_again(now in any::<u32>(), random in any::<[u8; 20]>()) {
            let root = TraceContext::root(now, random, ALL);
            prop_assert_eq!(TraceContext::parse(&root.traceparent()), Some(root));
            let child = root.child([7; 8]);
            prop_assert_eq!((child.trace_id, child.sampled), (root.trace_id, true));
        }

        /// None at 0, all at 1, and what a smaller ratio admits a larger one does too.
        #[test]
        fn a_ratio_admits_its_part(random in any::<[u8; 20]>(), ratio in 0.0..1.0f64) {
            let sampled = |ratio| TraceContext::root(1, random, SampleRatio::new(ratio)).sampled;
            prop_assert!(!sampled(0.0) && sampled(1.0));
            prop_assert!(!sampled(ratio) || sampled((ratio * 2.0).min(1.0)));
        }
    }

    #[test]
    fn a_quarter_is_about_a_quarter() {
        let ratio = SampleRatio::new(0.25);
        let sampled = (0..10_000).filter(|_| TraceContext::root(1, rand_bytes(), ratio).sampled);
        let count = sampled.count();
        assert!((2_000..3_000).contains(&count), "{count} of 10000");
    }

    fn rand_bytes() -> [u8; 20] {
        rand::random()
    }
}
