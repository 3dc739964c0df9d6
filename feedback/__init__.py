"""The ledger: records, the keys they live under, and the legal moves between states.

Every process meets the others here and nowhere else, so nothing heavy is imported: no torch, no vLLM, no FastAPI, no
Celery.
Inside the package the import order is the loop's order, from a logged interaction to a promoted policy.
"""
