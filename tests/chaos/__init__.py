"""Chaos: the real `marble serve` between two fake chats, while everything around it breaks.

`make chaos` runs it, docs/chaos.md says what it shows; `plan` is drawn from a seed, `faults`
and `deeds` are what happens, `witness` notes what people see, `account` is pure and judges.
"""
