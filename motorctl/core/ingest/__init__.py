"""The import engine: files in, documents written, every record accounted for.

    source   opens a file or stdin, undoes its compression, tells its format      bytes
    split    cuts the bytes at record borders, without parsing                    bytes -> Chunk
    read     does both in a thread, a few chunks ahead                            Source -> Reader
    decode   parses, types and encodes to BSON (pure: fit for another process)    Chunk -> Decoded
    write    sends batches to the server and reads its answer                     Decoded -> Outcome
    account  counts, keeps the rejects, holds read = inserted + updated + unchanged + rejected
    engine   joins them: back-pressure, batches in flight, a clean end

Between the parts go the plain values of `model` alone.
"""
