"""Where rows come from: files, databases and APIs, checked before anything parses them."""
