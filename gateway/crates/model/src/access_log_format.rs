//! One access log line's template (websocket-api, section 13.1).

/// Why a format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessLogFormat {
    /// Not `$context.NAME`.
    #[error("`{0}` is no variable of an access log: write $context.NAME")]
    Variable(String),
    /// A name that no access log knows.
    #[error("`$context.{0}` is unknown to access logs")]
    UnknownName(String),
    /// Neither of the two is there.
    #[error("the format must contain $context.requestId or $context.extendedRequestId")]
    NoRequestId,
    /// Longer than 3,072 bytes.
    #[error("a format has at most 3072 bytes, this one has {0}")]
    Length(usize),
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogFormat {
    pieces: Vec<Piece>,
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Literal(String),
    /// `$context.NAME`, the name without `context.`; an unset one renders as `-`.
    Context(String),
}

impl AccessLogFormat {
    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}
