// An open umbrella on grass. Our own scene; README.md says how it becomes umbrella.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
camera { location <0, 1.6, -7.5> look_at <0, 1.75, 0> angle 34 }
light_source { <-7, 12, -8> color rgb <1, 0.98, 0.94> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <8, 5, -8> color rgb 0.3 shadowless }
sky_sphere { pigment { bozo turbulence 0.6 color_map { [0 color rgb <0.52, 0.68, 0.88>] [1 color rgb <0.90, 0.93, 0.96>] } scale <0.5, 0.2, 0.5> } }
plane { y, 0
  pigment { granite color_map { [0 color rgb <0.10, 0.24, 0.05>] [1 color rgb <0.30, 0.46, 0.14>] } scale 0.6 }
  normal { granite 0.8 scale 0.3 }
}
// A far hedge.
box { <-60, 0, 30>, <60, 3.2, 31> pigment { granite color_map { [0 color rgb <0.05, 0.13, 0.04>] [1 color rgb <0.20, 0.32, 0.12>] } scale 3 } normal { granite 1 scale 2 } }
#declare N = 8;
#declare Cloth = texture { pigment { color rgb <0.72, 0.06, 0.08> } finish { ambient 0.12 diffuse 0.75 specular 0.2 roughness 0.1 } }
// The cloth: between two ribs it hangs through, at the rim most. U goes round, V from the top to the rim.
#macro P(U, V)
  #local S = mod(U*N, 1);
  #local Sag = 4*S*(1 - S)*V*V;
  #local A = 2*pi*U;
  #local R = 1.75*sin(V*1.25)*(1 - 0.10*Sag);
  <R*cos(A), 0.95*cos(V*1.45) + 0.13*Sag, R*sin(A)>
#end
#declare Canopy = mesh {
  #declare I = 0;
  #while (I < 96)
    #declare J = 0;
    #while (J < 14)
      #declare A1 = P(I/96, J/14); #declare B1 = P((I + 0.9999)/96, J/14);
      #declare C1 = P(I/96, (J + 1)/14); #declare D1 = P((I + 0.9999)/96, (J + 1)/14);
      triangle { A1, C1, D1 }
      #if (J > 0) triangle { A1, B1, D1 } #end
      #declare J = J + 1;
    #end
    #declare I = I + 1;
  #end
  texture { Cloth }
}
union {
  object { Canopy }
  cylinder { <0, -2.2, 0>, <0, 1.15, 0>, 0.035 pigment { color rgb 0.12 } finish { specular 0.5 } }
  // The crook.
  difference {
    torus { 0.2, 0.05 rotate 90*x }
    box { <-1, 0, -1>, <1, 1, 1> }
    translate <0.2, -2.2, 0>
    pigment { color rgb <0.35, 0.18, 0.07> }
  }
  cylinder { <0, -2.2, 0>, <0, -1.8, 0>, 0.05 pigment { color rgb <0.35, 0.18, 0.07> } }
  rotate <-14, 10, 12> translate <0.1, 2.35, 0>
}
