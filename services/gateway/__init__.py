"""The gateway: the REST API in front, commands on the bus behind, bulk straight to and from artifacts."""
