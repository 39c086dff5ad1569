"""The lock and election services for Python: etcd3 has no stubs of them, so the few messages are
described here, as in proto/v3lockpb.proto and proto/v3electionpb.proto."""

from etcd3.etcdrpc import kv_pb2, rpc_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
HEADER = ".etcdserverpb.ResponseHeader"

MESSAGES = {
    "v3lockpb": {
        "LockRequest": [("name", BYTES), ("lease", INT64)],
        "LockResponse": [("header", HEADER), ("key", BYTES)],
        "UnlockRequest": [("key", BYTES)],
        "UnlockResponse": [("header", HEADER)],
    },
    "v3electionpb": {
        "LeaderKey": [("name", BYTES), ("key", BYTES), ("rev", INT64), ("lease", INT64)],
        "CampaignRequest": [("name", BYTES), ("lease", INT64), ("value", BYTES)],
        "CampaignResponse": [("header", HEADER), ("leader", ".v3electionpb.LeaderKey")],
        "LeaderRequest": [("name", BYTES)],
        "LeaderResponse": [("header", HEADER), ("kv", ".mvccpb.KeyValue")],
        "ResignRequest": [("leader", ".v3electionpb.LeaderKey")],
        "ResignResponse": [("header", HEADER)],
        "ProclaimRequest": [("leader", ".v3electionpb.LeaderKey"), ("value", BYTES)],
        "ProclaimResponse": [("header", HEADER)],
    },
}


def messages(package):
    """The message classes of a package by name."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    file.syntax = "proto3"
    file.dependency.extend([rpc_pb2.DESCRIPTOR.name, kv_pb2.DESCRIPTOR.name])
    for name, fields in MESSAGES[package].items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            added = message.field.add(name=field, number=number, label=1)
            if isinstance(kind, str):
                added.type, added.type_name = 11, kind
            else:
                added.type = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    made = message_factory.MessageFactory(pool)
    return {
        name: made.GetPrototype(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in MESSAGES[package]
    }


class Service:
    """Calls of one service on a channel: `service.Lock(name=b"n")`."""

    def __init__(self, channel, package, name, streams=()):
        self.messages = messages(package)
        self.channel, self.path, self.streams = channel, f"/{package}.{name}/", streams

    def __getattr__(self, rpc):
        request = "LeaderRequest" if rpc == "Observe" else f"{rpc}Request"
        response = "LeaderResponse" if rpc == "Observe" else f"{rpc}Response"
        kind = self.channel.unary_stream if rpc in self.streams else self.channel.unary_unary
        call = kind(
            self.path + rpc,
            request_serializer=self.messages[request].SerializeToString,
            response_deserializer=self.messages[response].FromString,
        )

        def asked(timeout=20, future=False, **fields):
            sent = self.messages[request](**fields)
            return call.future(sent, timeout=timeout) if future else call(sent, timeout=timeout)

        return asked
