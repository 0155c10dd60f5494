"""Orders, and who is told about them.

    browser ── REST ──► api ──► orders ──► database: the change and its update, one transaction
       ▲                                        │
       └── frame ◄── gateway ◄── POST ── outbox ┘   then the update goes out, until it is taken
       └── frame ──► gateway ── POST ──► calls       receipts, and what was missed

Holds always: what a page is told stands in the database first; an update is pushed under one
`Idempotency-Key` however often it is tried; a page can ask for whatever did not reach it.
"""
