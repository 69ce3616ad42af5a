"""The four services of Atelier; none imports another, all import `shared`."""
