"""What a GEBM is compared with: GANs of the same networks, flows trained by maximum likelihood, and two densities that are no flows."""
