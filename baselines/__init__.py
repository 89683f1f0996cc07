"""What a GEBM is compared with: GANs of the very same networks, and, later, flows trained by maximum likelihood."""
