"""The operator's commands: `clustermesh` for meshes, `clustermesh-dbg` for one agent."""
