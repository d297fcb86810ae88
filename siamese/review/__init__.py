"""What people decide about mined pairs: pages to ask them, files that keep the answers, and what follows from them."""
