//! What a node answers another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{reader::Reader, writer::Writer};
use crate::{ConnectionId, DeliveryError, Description};

/// What became of a [`Question`](super::Question).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// It was done, and there is nothing to tell.
    Done,
    Failed(DeliveryError),
    Description(Description),
    /// Of a send: who took the message, and which of a list are gone.
    Report {
        recipients: u64,
        gone: Vec<ConnectionId>,
    },
    /// Members, or connections that were closed.
    Number(u64),
    /// Some connections, and the place where the next page begins.
    Page {
        connections: Vec<ConnectionId>,
        next: Option<u32>,
    },
}

const DONE: u8 = 128;
const FAILED: u8 = 129;
const DESCRIPTION: u8 = 130;
const REPORT: u8 = 131;
const NUMBER: u8 = 132;
const PAGE: u8 = 133;

impl Answer {
    /// Below are questions.
    pub(super) const FIRST_KIND: u8 = DONE;

    pub(super) fn write(&self, out: &mut Writer) {
        match self {
            Self::Done => out.u8(DONE),
            Self::Failed(error) => {
                out.u8(FAILED);
                out.u8(match error {
                    DeliveryError::Gone => 0,
                    DeliveryError::Full => 1,
                    DeliveryError::Unavailable => 2,
                });
            }
            Self::Description(description) => {
                out.u8(DESCRIPTION);
                write_description(out, description);
            }
            Self::Report { recipients, gone } => {
                out.u8(REPORT);
                out.u64(*recipients);
                out.ids(gone);
            }
            Self::Number(number) => {
                out.u8(NUMBER);
                out.u64(*number);
            }
            Self::Page { connections, next } => {
                out.u8(PAGE);
                out.ids(connections);
                out.u8(next.is_some().into());
                out.u32(next.unwrap_or_default());
            }
        }
    }

    pub(super) fn read(kind: u8, input: &mut Reader) -> Option<Self> {
        Some(match kind {
            DONE => Self::Done,
            FAILED => Self::Failed(match input.u8()? {
                0 => DeliveryError::Gone,
                1 => DeliveryError::Full,
                2 => DeliveryError::Unavailable,
                _ => return None,
            }),
            DESCRIPTION => Self::Description(read_description(input)?),
            REPORT => Self::Report { recipients: input.u64()?, gone: input.ids()? },
            NUMBER => Self::Number(input.u64()?),
            PAGE => {
                let connections = input.ids()?;
                let (there, place) = (input.u8()?, input.u32()?);
                let next = match there {
                    0 if place == 0 => None,
                    1 => Some(place),
                    _ => return None,
                };
                Self::Page { connections, next }
            }
            _ => return None,
        })
    }
}

fn write_description(out: &mut Writer, description: &Description) {
    out.u64(description.connected_at_ms);
    out.u64(description.last_active_at_ms);
    match description.source_ip {
        IpAddr::V4(ip) => out.short(&ip.octets()),
        IpAddr::V6(ip) => out.short(&ip.octets()),
    }
    out.u8(description.user_agent.is_some().into());
    out.short(description.user_agent.as_deref().unwrap_or_default().as_bytes());
}

fn read_description(input: &mut Reader) -> Option<Description> {
    let (connected_at_ms, last_active_at_ms) = (input.u64()?, input.u64()?);
    let ip = input.short()?;
    let source_ip = match (<[u8; 4]>::try_from(&*ip), <[u8; 16]>::try_from(&*ip)) {
        (Ok(v4), _) => IpAddr::V4(Ipv4Addr::from(v4)),
        (_, Ok(v6)) => IpAddr::V6(Ipv6Addr::from(v6)),
        _ => return None,
    };
    let (there, text) = (input.u8()?, input.short_text()?);
    let user_agent = match there {
        0 if text.is_empty() => None,
        1 => Some(text),
        _ => return None,
    };
    Some(Description { connected_at_ms, last_active_at_ms, source_ip, user_agent })
}
