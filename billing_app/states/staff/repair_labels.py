"""What each repair is called, and what it does, for the staff."""

from typing import Final

TITLES: Final = {
    "grant": "Grant executions",
    "adjust": "Adjust used executions",
    "refund": "Refund one run",
    "refund_range": "Refund the runs of a workflow",
    "extend_trial": "Extend the trial",
    "move": "Move to another offer",
    "pause": "Pause a plan",
    "resume": "Resume a plan",
    "block": "Block the account",
    "unblock": "Unblock the account",
}
WORDS: Final = {
    "grant": "A separate plan joins the queue; what they paid for stays as it is.",
    "adjust": "Corrects what a plan counts as used, by a row of the ledger.",
    "refund": "Gives back the executions of a run to the plan that paid for them.",
    "refund_range": "Gives back every run of a workflow between two moments, each once.",
    "extend_trial": "More executions, a later end, or both.",
    "move": "The newest version of the offer takes the place of the one they have.",
    "pause": "Nothing new is taken from it. Runs that have begun may finish.",
    "resume": "It may be used again.",
    "block": "Nothing new is allowed. Runs that have begun may finish.",
    "unblock": "Their plans count again.",
}
