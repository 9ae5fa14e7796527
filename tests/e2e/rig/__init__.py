"""Real servers on loopback, and readers of tables that share no code with Tarn."""
