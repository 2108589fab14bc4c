"""Wild input to every rpc: whatever comes in, an answer or a refusal of ours goes out, and no NIK with it."""
