sweep() { :; }
