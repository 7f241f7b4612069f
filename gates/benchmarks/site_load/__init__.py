"""Load test of the site: bounded requests on loopback, from clients with addresses of their own."""
