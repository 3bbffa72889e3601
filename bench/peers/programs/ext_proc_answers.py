"""The answers of both ext_proc servers, which set one header in each direction. They are constants."""

from envoy.config.core.v3 import base_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

PEER = base_pb2.HeaderValueOption(
    header=base_pb2.HeaderValue(key="x-peer", raw_value=b"1"),
    append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
)
SET_PEER = pb.HeadersResponse(response=pb.CommonResponse(header_mutation=pb.HeaderMutation(set_headers=[PEER])))
ANSWERS = {
    "request_headers": pb.ProcessingResponse(request_headers=SET_PEER),
    "response_headers": pb.ProcessingResponse(response_headers=SET_PEER),
}
"""The answer to a kind of message."""


def answer(request: pb.ProcessingRequest) -> pb.ProcessingResponse:
    return ANSWERS[request.WhichOneof("request")]
