"""The API contract: antrian/v1/*.proto, vendored protos, and the generators of what is made from them."""
