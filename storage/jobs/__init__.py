"""Jobs from intake to delivery, their pictures and history."""
