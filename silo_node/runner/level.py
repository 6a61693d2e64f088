"""How the process that reads rows is shut in on this machine: one word, which the policy decides on."""

from silo_node.policy.case import SandboxLevel


def sandbox_level() -> SandboxLevel:
    """``none``: the runner is a child process that gives up its privileges, and nothing shuts it in."""
    return "none"
