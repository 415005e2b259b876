//! What the API promises, through the real router over the real state machine in memory.

mod approvals;
mod browser;
mod certificates;
mod document;
mod every_route_refuses;
mod listeners;
mod logins;
mod openapi;
mod pages;
mod recordings;
mod records;
mod second_factors;
mod streams;
mod support;
mod terminals;
