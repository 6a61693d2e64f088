"""A study contract in plain words: what would be computed, by whom, for what, on which columns, at what cost.

Whoever decides reads this text, made on their own machine from the exact contract whose digest they sign.
"""

from protocol.study import StudyContract, study_id

_PURPOSES = {
    "medical-research": "medical research",
    "quality-improvement": "improving the quality of care or service",
    "fraud-detection": "detecting fraud",
    "risk-modelling": "modelling risk",
    "method-research": "research on methods",
}


def plain_contract(contract: StudyContract) -> str:
    """The contract as short paragraphs, each ``Heading: sentences``."""
    return "\n".join(f"{heading}: {text}" for heading, text in plain_parts(contract))


def plain_parts(contract: StudyContract) -> tuple[tuple[str, str], ...]:
    """Pairs of a heading and its sentences, in the order in which an owner weighs them."""
    return (
        ("Study", f"{contract.title}. {contract.description} (id {study_id(contract)})"),
        ("Purpose", f"{_PURPOSES[contract.purpose]}; legal basis: {contract.legal_basis}."),
        ("Who", _who(contract)),
        ("Data", _data(contract)),
        ("Computation", _computation(contract)),
        ("Privacy", _privacy(contract)),
        ("Silos", _silos(contract)),
        ("Until", f"{contract.expires_at}; a silo may withdraw at any time, its next round then does not happen."),
    )


def _who(contract: StudyContract) -> str:
    return (
        f"led by {contract.lead}; the model and the measured accuracy go to {', '.join(contract.recipients)}, "
        f"and only after {contract.release.approvals} silos have approved the release."
    )


def _data(contract: StudyContract) -> str:
    names = ", ".join(column.name for column in contract.data.features)
    return (
        f"dataset {contract.data.dataset}: {len(contract.data.features)} columns ({names}) to predict "
        f"{contract.data.target.name}. No row leaves its silo."
    )


def _computation(contract: StudyContract) -> str:
    training, model = contract.training, contract.model
    shape = "a logistic regression"
    if model.family == "mlp":
        shape = f"a neural network with hidden layers of {', '.join(str(width) for width in model.hidden)}"
    return (
        f"{shape}, trained over {training.rounds} rounds of {training.local_steps} steps at each silo; before that "
        f"sums of {len(contract.normalisation.columns)} columns to bring them to one scale; at the end counts of right "
        f"and wrong predictions on the {contract.evaluation.test_share:.0%} of the rows that were held out. All of it "
        "leaves a silo only with noise added, and encrypted: the hub adds what it cannot read."
    )


def _privacy(contract: StudyContract) -> str:
    privacy = contract.privacy
    whom = "person (all rows of one subject)" if privacy.unit == "subject" else "single record (record-level only)"
    return (
        f"the whole study costs each {whom} at most epsilon {privacy.epsilon:g} at delta {privacy.delta:g} in each "
        f"silo; noise multipliers: normalisation {contract.normalisation.noise_multiplier:g}, training "
        f"{contract.training.noise_multiplier:g} a step, evaluation {contract.evaluation.noise_multiplier:g}."
    )


def _silos(contract: StudyContract) -> str:
    silos = ", ".join(f"{terms.silo} ({terms.rows} rows, weight {terms.weight:.0%})" for terms in contract.silos)
    return f"{silos}. A sum is opened only if at least {contract.schedule.quorum} of them are in it."
