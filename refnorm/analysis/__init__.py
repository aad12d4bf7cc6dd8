"""Measures of normalization, to be applied to one's own functions, networks and arrays.

    stochasticity       how much a sample's output depends on the other samples of its batch
    averaged_whitening  what running averages of whitening matrices tend to
    batch_noise         the distribution of batch statistics under a Gaussian, in closed form
    constraint_system   what a norm demands of its output: how many equations, how many independent, can they be met
    invariance          scale invariance of a function in any of its arguments, and what its gradient does
    newton_spectrum     what T Newton-Schulz steps make of an eigenvalue, and how many steps a dimension needs
    mean_field          wide networks with batch norm or group norm: fixed points of the kernel, growth of the gradient
    wide_network        random networks, forward and backward, to check them on
    decoupling          length and direction apart: least squares and half-spaces with normalized weights
    weight_dynamics     two-layer networks with normalized weights: their kernel, and training
    sphere_geometry     the spheres that norms put their outputs on, and the tangent projection
    isometry            how far a linear map is from preserving norms; ConvNorm's channels
    lipschitz           operator norms, certified radii, spectral complexity
    bistochastic        iterative proportional fitting of confusion matrices

and, of networks (refnorm.nets) and their training:

    scale               scales forward and backward, norms that grow, where weight decay brings them to rest
    landscape           loss, gradient and smoothness along the path of training, and what batch norm does to them
    conditioning        spectra of each layer's inputs and output gradients
    curvature           spectra of Hessians and Fisher matrices in training mode, samples coupled by norms
    signal_propagation  energy, similarity, rank and gradients, layer by layer
    convergence         how fast a run of training is
    adversarial         the fast gradient sign method
    covariate_shift     statistics that differ between clients of federated training
"""
