//! What is kept of a send, for whoever repeats it.
//!
//! In:  a send's report, and the audience that it was for.
//! Out: the same without ids; from that and the audience of a repetition, the report again.
//!
//! A repetition names the same audience, or it is another call. So of a list it is enough to know
//! which of its places are gone.
//!
//! ```text
//! bytes  form(1)  recipients(8)  nodes(4)  gone…            numbers are big endian
//! gone   a bit for each place, the first one the lowest of its byte; up to the last that is set
//! ```
//!
//! Holds always: it takes a bit for each place of the list at most, whoever is gone; there is one
//! form of the same report only.

use std::collections::HashSet;

use crate::{Audience, ConnectionId, SendReport, Weighed};

/// A [`SendReport`] whose list is kept by whoever asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RememberedReport {
    recipients: u64,
    nodes: u32,
    gone: Box<[u8]>,
}

impl RememberedReport {
    /// The form of [`Self::to_bytes`].
    pub(crate) const FORM: u8 = 1;

    /// What is kept of a send to `audience`. Who is not in it is not kept.
    pub(crate) fn of(report: &SendReport, audience: &Audience) -> Self {
        let SendReport { recipients, nodes, gone } = report;
        let gone: HashSet<_> = gone.iter().collect();
        let mut bits = Vec::new();
        if !gone.is_empty() {
            for eight in listed(audience).chunks(8) {
                let set = |(place, id)| u8::from(gone.contains(id)) << place;
                bits.push((0..8).zip(eight).map(set).sum());
            }
        }
        let length = bits.iter().rposition(|bits| *bits != 0).map_or(0, |last| last + 1);
        bits.truncate(length);
        Self { recipients: *recipients, nodes: *nodes, gone: bits.into() }
    }

    /// The report, for the audience that it was kept of. Who is gone is in the list's order.
    pub(crate) fn report(&self, audience: &Audience) -> SendReport {
        let eights = self.gone.iter().zip(listed(audience).chunks(8));
        let is_set = |bits: &u8, place: u32| bits & (1 << place) != 0;
        let gone = eights.flat_map(|(bits, eight)| {
            (0..8).zip(eight).filter(move |(place, _)| is_set(bits, *place)).map(|(_, id)| *id)
        });
        SendReport { recipients: self.recipients, nodes: self.nodes, gone: gone.collect() }
    }

    /// The report, to be kept elsewhere.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (recipients, nodes) = (self.recipients.to_be_bytes(), self.nodes.to_be_bytes());
        [&[Self::FORM], &recipients[..], &nodes, &self.gone].concat()
    }

    /// Reads what [`Self::to_bytes`] made of a report for `audience`. `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8], audience: &Audience) -> Option<Self> {
        let (Self::FORM, rest) = bytes.split_first().map(|(form, rest)| (*form, rest))? else {
            return None;
        };
        let (recipients, rest) = rest.split_first_chunk()?;
        let (nodes, gone) = rest.split_first_chunk()?;
        let last = match gone.last() {
            Some(bits) => gone.len() * 8 - bits.leading_zeros() as usize,
            None => 0,
        };
        let is_one_form = gone.last() != Some(&0);
        (is_one_form && last <= listed(audience).len()).then(|| Self {
            recipients: u64::from_be_bytes(*recipients),
            nodes: u32::from_be_bytes(*nodes),
            gone: gone.into(),
        })
    }
}

impl Weighed for RememberedReport {
    fn heap_bytes(&self) -> usize {
        self.gone.len()
    }
}

/// The connections of a list. Of any other audience nobody is said to be gone.
fn listed(audience: &Audience) -> &[ConnectionId] {
    match audience {
        Audience::Connections(list) => list.as_slice(),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ConnectionList, NodeId};

    fn id(number: usize) -> ConnectionId {
        // Of several nodes, so that the order of the ids is not that of the list.
        let node = NodeId::new(1 + number as u32 % 3).unwrap();
        ConnectionId::new(node, (number as u64).to_be_bytes())
    }

    fn list(length: usize) -> Audience {
        Audience::Connections(ConnectionList::new((0..length).map(id).collect()).unwrap())
    }

    #[test]
    fn a_list_of_10_000_that_are_gone_takes_less_than_1300_bytes() {
        let gone: Vec<_> = (0..10_000).rev().map(id).collect();
        let report = SendReport { recipients: 0, nodes: 0, gone };
        let kept = RememberedReport::of(&report, &list(10_000));
        assert_eq!((kept.heap_bytes(), kept.to_bytes().len()), (1250, 1263));
        assert_eq!(kept.report(&list(10_000)).gone, (0..10_000).map(id).collect::<Vec<_>>());
    }

    #[test]
    fn who_is_not_listed_is_not_kept() {
        let report = SendReport { recipients: 3, nodes: 2, gone: vec![id(3), id(70)] };
        for audience in [list(3), list(0), Audience::Stage] {
            let kept = RememberedReport::of(&report, &audience);
            let none = SendReport { gone: vec![], ..report.clone() };
            assert_eq!((kept.heap_bytes(), kept.report(&audience)), (0, none));
        }
    }

    #[test]
    fn bytes_of_another_form_or_for_another_list_are_not_read() {
        let report = SendReport { recipients: 3, nodes: 2, gone: vec![id(8)] };
        let bytes = RememberedReport::of(&report, &list(9)).to_bytes();
        assert_eq!(bytes, [&[1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2][..], &[0, 1]].concat());
        let read = |bytes: &[u8], length| RememberedReport::from_bytes(bytes, &list(length));
        assert!(read(&bytes, 9).is_some() && read(&bytes, 10_000).is_some());
        assert_eq!(read(&bytes, 8), None, "a ninth place of eight");
        assert_eq!(read(&[&bytes[..], &[0]].concat(), 10_000), None, "two forms of one report");
        assert_eq!(read(&[&[2], &bytes[1..]].concat(), 9), None, "a form to come");
        for length in 0..13 {
            assert_eq!(read(&bytes[..length], 9), None, "cut off after {length} bytes");
        }
    }

    proptest! {
        /// Whoever is gone, in whatever order they were found to be.
        #[test]
        fn a_kept_report_is_the_report_in_the_lists_order(
            gone in prop::collection::vec(any::<bool>(), 0..300).prop_flat_map(|gone| {
                let places = (0..gone.len()).filter(|place| gone[*place]).collect::<Vec<_>>();
                (Just(gone.len()), Just(places.clone()), Just(places).prop_shuffle())
            }),
            (recipients, nodes) in any::<(u64, u32)>(),
        ) {
            let (length, in_order, found) = gone;
            let ids = |places: Vec<usize>| places.into_iter().map(id).collect();
            let audience = list(length);
            let report = SendReport { recipients, nodes, gone: ids(found) };
            let kept = RememberedReport::of(&report, &audience);
            prop_assert!(kept.heap_bytes() <= length.div_ceil(8));
            let again = RememberedReport::from_bytes(&kept.to_bytes(), &audience);
            prop_assert_eq!(again.as_ref(), Some(&kept));
            prop_assert_eq!(kept.report(&audience), SendReport { gone: ids(in_order), ..report });
        }

        /// What stands in the Redis is anybody's.
        #[test]
        fn what_can_be_read_can_be_written_and_is_the_same(
            mut bytes in prop::collection::vec(any::<u8>(), 0..60),
            length in 0usize..400,
        ) {
            if let Some(form) = bytes.first_mut() {
                *form %= 3;
            }
            if let Some(kept) = RememberedReport::from_bytes(&bytes, &list(length)) {
                prop_assert_eq!(kept.to_bytes(), bytes);
                prop_assert!(kept.report(&list(length)).gone.len() <= length);
            }
        }
    }
}
