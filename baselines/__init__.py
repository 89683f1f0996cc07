"""What a GEBM is compared with: GANs of the same networks, an energy without a base, flows trained by maximum likelihood, and two densities
that are no flows.
"""
