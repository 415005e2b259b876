//! What one direction of a relay has received and not yet passed on.
//!
//! Data is bounded by the window of the channel. Small pieces are joined, so that the bound holds for the memory as
//! well and not only for the bytes; requests are bounded by number.

use super::relay::Chunk;
use bytes::{Bytes, BytesMut};
use russh::ChannelMsg;
use russh::ChannelReadHalf;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Requests that may wait. More is not use but abuse.
const REQUESTS: usize = 256;

/// Pieces below this size are joined with their neighbours.
const SMALL: usize = 4 << 10;

/// Joined pieces grow to this size.
const JOINED: usize = 32 << 10;

/// How much is recorded and sent at a time.
const BATCH: usize = 256 << 10;

#[derive(Debug)]
enum Held {
    Large(Option<u32>, Bytes),
    Small(Option<u32>, BytesMut),
    Msg(ChannelMsg),
}

/// What comes out.
#[derive(Debug)]
pub enum Item {
    /// Data.
    Data(Chunk),
    /// A request or another message.
    Msg(ChannelMsg),
    /// More requests than may wait.
    Overflow,
    /// The connection is gone; nothing follows.
    End,
}

#[derive(Debug, Default)]
struct State {
    held: VecDeque<Held>,
    requests: usize,
    overflow: bool,
    ended: bool,
}

/// Messages of one direction, in the order of arrival.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    news: Notify,
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes every message at once until the channel is over, so that the connection never waits for a consumer.
    pub async fn fill(&self, read: &mut ChannelReadHalf) {
        while let Some(msg) = read.wait().await {
            let last = matches!(msg, ChannelMsg::Close);
            self.push(msg);
            if last {
                break;
            }
        }
        self.end();
    }

    /// Takes a message; never waits.
    pub fn push(&self, msg: ChannelMsg) {
        let mut state = self.state();
        match msg {
            ChannelMsg::Data { data } => state.data(None, data),
            ChannelMsg::ExtendedData { data, ext } => state.data(Some(ext), data),
            // The window that we send into is kept elsewhere.
            ChannelMsg::WindowAdjusted { .. } => return,
            msg => {
                if matches!(msg, ChannelMsg::WindowChange { .. })
                    && let Some(Held::Msg(last @ ChannelMsg::WindowChange { .. })) = state.held.back_mut()
                {
                    *last = msg;
                } else if state.requests >= REQUESTS {
                    state.overflow = true;
                } else {
                    state.requests += 1;
                    state.held.push_back(Held::Msg(msg));
                }
            }
        }
        drop(state);
        self.news.notify_one();
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.state().ended = true;
        self.news.notify_one();
    }

    /// The next item, in the order of arrival.
    pub async fn pop(&self) -> Item {
        loop {
            if let Some(item) = self.state().pop() {
                return item;
            }
            self.news.notified().await;
        }
    }

    /// `first` and the data that directly follows it, up to a batch.
    pub fn pop_data(&self, first: Chunk) -> Vec<Chunk> {
        let mut size = first.data.len();
        let mut batch = vec![first];
        let mut state = self.state();
        while size < BATCH && matches!(state.held.front(), Some(Held::Large(..) | Held::Small(..))) {
            if let Some(Item::Data(chunk)) = state.pop() {
                size += chunk.data.len();
                batch.push(chunk);
            }
        }
        batch
    }
}

impl State {
    fn data(&mut self, ext: Option<u32>, data: Bytes) {
        if data.len() >= SMALL {
            self.held.push_back(Held::Large(ext, data));
            return;
        }
        if let Some(Held::Small(last, joined)) = self.held.back_mut()
            && *last == ext
            && joined.len() + data.len() <= JOINED
        {
            joined.extend_from_slice(&data);
        } else if !data.is_empty() {
            self.held.push_back(Held::Small(ext, BytesMut::from(&data[..])));
        }
    }

    fn pop(&mut self) -> Option<Item> {
        if self.overflow {
            return Some(Item::Overflow);
        }
        match self.held.pop_front() {
            Some(Held::Large(ext, data)) => Some(Item::Data(Chunk { ext, data })),
            Some(Held::Small(ext, data)) => Some(Item::Data(Chunk {
                ext,
                data: data.freeze(),
            })),
            Some(Held::Msg(msg)) => {
                self.requests -= 1;
                Some(Item::Msg(msg))
            }
            None if self.ended => Some(Item::End),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &'static [u8]) -> ChannelMsg {
        ChannelMsg::Data {
            data: Bytes::from_static(bytes),
        }
    }

    #[tokio::test]
    async fn order_is_kept_and_small_pieces_are_joined() {
        let queue = Queue::default();
        for _ in 0..1000 {
            queue.push(data(b"x"));
        }
        queue.push(ChannelMsg::Eof);
        queue.push(data(b"after"));
        queue.end();
        let Item::Data(all) = queue.pop().await else {
            panic!("data first")
        };
        assert_eq!(all.data.len(), 1000);
        assert!(matches!(queue.pop().await, Item::Msg(ChannelMsg::Eof)));
        assert!(matches!(queue.pop().await, Item::Data(_)));
        assert!(matches!(queue.pop().await, Item::End));
    }

    #[tokio::test]
    async fn standard_error_is_not_joined_with_output() {
        let queue = Queue::default();
        queue.push(data(b"out"));
        queue.push(ChannelMsg::ExtendedData {
            data: Bytes::from_static(b"err"),
            ext: 1,
        });
        let Item::Data(first) = queue.pop().await else {
            panic!("data")
        };
        let batch = queue.pop_data(first);
        assert_eq!(batch.len(), 2);
        assert_eq!((batch[0].ext, batch[1].ext), (None, Some(1)));
    }

    #[tokio::test]
    async fn a_flood_of_requests_overflows_and_resizes_replace_each_other() {
        let queue = Queue::default();
        for i in 0..10_000 {
            queue.push(ChannelMsg::WindowChange {
                col_width: i,
                row_height: 1,
                pix_width: 0,
                pix_height: 0,
            });
        }
        assert!(matches!(
            queue.pop().await,
            Item::Msg(ChannelMsg::WindowChange { col_width: 9999, .. })
        ));
        for _ in 0..=REQUESTS {
            queue.push(ChannelMsg::RequestShell { want_reply: true });
        }
        assert!(matches!(queue.pop().await, Item::Overflow));
    }
}
