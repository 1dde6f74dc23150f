"""The import engine: files in, documents written, every record accounted for.

    reading     opens, decompresses, cuts at record borders without parsing    bytes -> Chunk
    decoding    parses, types and encodes to BSON, in worker processes          Chunk -> Decoded
    writing     sends batches and reads the server's answers                    Decoded -> Outcome
    flight      the batches on their way
    account     counts, keeps the rejects, holds read = inserted + updated + unchanged + rejected
    resuming    keeps in the database how far it is
    engine      joins them: back-pressure, order, a clean end

Between the parts go the plain values of `model` alone.
"""
