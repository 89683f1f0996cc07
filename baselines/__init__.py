"""What a GEBM is compared with: GANs of the same networks, an energy without a base, flows trained by maximum likelihood, two densities
that are no flows, and the samplers of the literature that a discriminator guides.
"""
