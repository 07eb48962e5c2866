"""Run by the `etcd3` package's own environment: reads west through the mTLS proxy, then tries to write.

Arguments: address, CA file, certificate file, key file, server name. Prints one JSON object,
values in base64.
"""

import base64
import json
import sys

import etcd3


def main() -> None:
    host, ca, certificate, key, name = sys.argv[1:]
    client = etcd3.client(
        host=host,
        port=2379,
        ca_cert=ca,
        cert_cert=certificate,
        cert_key=key,
        timeout=10,
        grpc_options=[("grpc.ssl_target_name_override", name)],
    )
    pairs = {
        metadata.key.decode(): base64.b64encode(value).decode()
        for prefix in ("cilium/state/", f"cilium/synced/{name.split('.')[0]}/")
        for value, metadata in client.get_prefix(prefix)
    }
    refusals = {}
    for what, attempt in {
        "put": lambda: client.put("cilium/state/ip/v1/default/10.2.1.9", "{}"),
        "delete": lambda: client.delete("cilium/.heartbeat"),
        "lease": lambda: client.lease(60),
        "read outside": lambda: client.get("cilium/cache/ip/v1/east/10.1.1.1"),
    }.items():
        try:
            attempt()
            refusals[what] = ""
        except Exception as error:  # noqa: BLE001 - whatever it raises is what we print
            refusals[what] = str(error) or type(error).__name__
    sys.stdout.write(json.dumps({"pairs": pairs, "refusals": refusals}))


main()
