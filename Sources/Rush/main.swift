print("rush")
