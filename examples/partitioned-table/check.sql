SELECT sensor FROM measurements WHERE kelvin IS DISTINCT FROM celsius + 273.15;
