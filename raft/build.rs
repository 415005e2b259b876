//! Generates the gRPC client and server of the node-to-node service. The messages themselves are written by hand in
//! `src/wire.rs`, so that no protobuf compiler is needed to build the product.

use tonic_prost_build::manual::{Builder, Method, Service};

const CODEC: &str = "tonic_prost::ProstCodec";

fn unary(name: &str, route: &str, input: &str, output: &str) -> Method {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::wire::{input}"))
        .output_type(format!("crate::wire::{output}"))
        .codec_path(CODEC)
        .build()
}

fn streaming(
    name: &str,
    route: &str,
    input: &str,
    output: &str,
    from_client: bool,
    from_server: bool,
) -> Method {
    let mut method = Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::wire::{input}"))
        .output_type(format!("crate::wire::{output}"))
        .codec_path(CODEC);
    if from_client {
        method = method.client_streaming();
    }
    if from_server {
        method = method.server_streaming();
    }
    method.build()
}

fn main() {
    let service = Service::builder()
        .name("Peer")
        .package("palisade.v1")
        .comment("What the nodes of one cluster say to each other.")
        .method(streaming(
            "append",
            "Append",
            "AppendRequest",
            "AppendReply",
            true,
            true,
        ))
        .method(unary("heartbeat", "Heartbeat", "AppendRequest", "AppendReply"))
        .method(unary("vote", "Vote", "VoteRequest", "VoteReply"))
        .method(unary("transfer", "Transfer", "TransferRequest", "TransferReply"))
        .method(streaming(
            "snapshot",
            "Snapshot",
            "SnapshotChunk",
            "SnapshotReply",
            true,
            false,
        ))
        .method(unary("forward", "Forward", "ForwardRequest", "ForwardReply"))
        .method(unary(
            "read_index",
            "ReadIndex",
            "ReadIndexRequest",
            "ReadIndexReply",
        ))
        .method(unary("admin", "Admin", "AdminRequest", "AdminReply"))
        .method(unary("call", "Call", "CallRequest", "CallReply"))
        .method(unary(
            "segment_put",
            "SegmentPut",
            "SegmentPutRequest",
            "SegmentPutReply",
        ))
        .method(streaming(
            "segment_get",
            "SegmentGet",
            "SegmentGetRequest",
            "SegmentPart",
            false,
            true,
        ))
        .method(unary(
            "segment_list",
            "SegmentList",
            "SegmentListRequest",
            "SegmentListReply",
        ))
        .build();
    Builder::new().compile(&[service]);
}
