print("dibs")
