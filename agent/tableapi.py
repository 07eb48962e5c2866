"""What the agent knows and wants: identities, addresses, services, nodes, policies."""

from __future__ import annotations

from aiohttp import web

from agent import addresslist, servicelist, servicename
from agent.apireply import AGENT, reply
from agent.errors import NotFoundError, RequestError


async def _identities(request: web.Request) -> web.Response:
    return reply(addresslist.identities(request.app[AGENT].tables))


async def _endpoint_identities(request: web.Request) -> web.Response:
    return reply(addresslist.endpoint_identities(request.app[AGENT].tables))


async def _identity(request: web.Request) -> web.Response:
    wanted = request.match_info["id"]
    for element in addresslist.identities(request.app[AGENT].tables):
        if str(element["id"]) == wanted:
            return reply(element)
    raise NotFoundError(f"no identity {wanted}")


async def _addresses(request: web.Request) -> web.Response:
    tables = request.app[AGENT].tables
    try:
        return reply(addresslist.addresses(tables.ipcache, request.query.get("cidr", "")) if tables else [])
    except ValueError as error:
        raise RequestError(str(error)) from error


async def _services(request: web.Request) -> web.Response:
    tables = request.app[AGENT].tables
    return reply(servicelist.listed(tables.services) if tables else [])


async def _resolve(request: web.Request) -> web.Response:
    """Where a Service is reached by its name, as the agent's own connections find it; [] for no Service."""
    tables = request.app[AGENT].tables
    found = servicename.addresses(tables.services, request.match_info["host"]) if tables else ()
    return web.json_response(found)


async def _nodes(request: web.Request) -> web.Response:
    return reply(request.app[AGENT].nodes())


async def _node_ids(request: web.Request) -> web.Response:
    tables = request.app[AGENT].tables
    numbered = tables.node_ids.all() if tables else {}
    return reply([{"id": number, "ips": ips} for number, ips in numbered.items()])


async def _policies(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    refused = agent.kubernetes.view.policies_refused if agent.kubernetes else {}
    known = agent.tables.policies if agent.tables else None
    return reply(
        {
            "policies": known.names if known else [],
            "refused": refused,
            "unsupported": known.unsupported if known else {},
        }
    )


ROUTES = [
    web.get("/v1/identity", _identities),
    web.get("/v1/identity/endpoints", _endpoint_identities),
    web.get("/v1/identity/{id}", _identity),
    web.get("/v1/ip", _addresses),
    web.get("/v1/service", _services),
    web.get("/v1/resolve/{host}", _resolve),
    web.get("/v1/cluster/nodes", _nodes),
    web.get("/v1/node/ids", _node_ids),
    web.get("/v1/policy", _policies),
]
