"""Make a model that is already trained forget: rivals of sinks, under one contract.

A method declares what it needs (`contract.Need`) and gets that and nothing else (`work.Work`);
`runner.run` keeps its costs, evaluates it on the way, stops it by a stated rule and records what a
repetition takes. Methods work on any `torch.nn.Module` that gives logits for tokens: every
`AutoModelForCausalLM`, and dense checkpoints of this project (`dense_control`). One process,
or several that share the work (`data_parallel`).

Every formula names its source. "Verified in code" means that it was read in the named repository;
what is said without it comes from a publication's text or is marked as unverified. Published
defaults are defaults, not recommendations: tune a method by `plan.StopRule`.

Dimensions in this package: B sequences, T tokens of the longest, V vocabulary, D model dim.
"""
