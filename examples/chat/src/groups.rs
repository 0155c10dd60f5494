//! What the gateway's groups are called: one for a room, one for each person in a room.
//!
//! In:  a room's name (free text), a person's id. Out: a group's name, 1 to 128 characters of
//!      `A-Za-z0-9-_.~:`.
//!
//! Holds always: two rooms never share a group, nor does a room share one with a person.

use sha2::{Digest, Sha256};

/// Everyone in a room: where its messages go.
pub fn of_room(room: &str) -> String {
    format!("room:{}", plain(room))
}

/// The connections that one person has in one room: how many there are, says whether they are
/// there.
pub fn of_person(room: &str, person: &str) -> String {
    format!("here:{}:{person}", plain(room))
}

/// The name itself where a group's name may look so, which is easy on whoever reads it; else a
/// digest of it: 40 characters of any language are too long for any way of writing them out.
fn plain(room: &str) -> String {
    let may_stay = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if room.bytes().all(may_stay) { room.to_owned() } else { format!("~{}", digest(room)) }
}

/// SHA-256, as 64 hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_after_its_room_where_that_is_allowed() {
        assert_eq!(of_room("night-watch"), "room:night-watch");
        assert_eq!(of_person("night-watch", "0af1"), "here:night-watch:0af1");
    }

    #[test]
    fn any_other_name_becomes_a_group_of_its_own_that_the_gateway_takes() {
        let longest = "\u{10348}".repeat(40);
        let rooms = ["a/b", "a:b", "~", "été", "ete\u{301}", "a?b", longest.as_str()];
        let groups: Vec<_> = rooms.map(|room| of_person(room, "0123456789abcdef")).into();
        for (n, group) in groups.iter().enumerate() {
            let taken = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:".contains(&b);
            assert!(group.len() <= 128 && group.bytes().all(taken), "{group}");
            assert!(!groups[..n].contains(group), "{group} is another room's");
        }
    }
}
